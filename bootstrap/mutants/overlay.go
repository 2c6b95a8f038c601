package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// overlay writes an overlay file that makes the go command use these texts for files of the module, which need not exist.
// The source tree is not modified. It returns the path for -overlay.
func overlay(root, dir string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for file, text := range texts {
		path := filepath.Join(dir, fmt.Sprintf("%d_%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = path
	}
	mapping, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, mapping, 0o600)
}
