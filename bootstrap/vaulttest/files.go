package vaulttest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // named by the caller
	if err != nil {
		return err
	}
	defer in.Close()                                                      //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700) //nolint:gosec // an executable
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func sha256Of(file string) (string, error) {
	data, err := os.ReadFile(file) //nolint:gosec // named by the caller
	if err != nil {
		return "", fmt.Errorf("reading the plugin: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
