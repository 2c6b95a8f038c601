package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// source parses the package.
func source(t *testing.T) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		out = append(out, file)
	}
	return out
}

func goldenText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(golden)
	require.NoError(t, err)
	return string(text)
}

// A function that says something to an operator is in the file, so that a reader sees it.
func TestGoldenFileCoversEveryFunction(t *testing.T) {
	t.Parallel()
	text, found := goldenText(t), 0
	var missing []string
	for _, file := range source(t) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || !says(f) {
				continue
			}
			found++
			if !strings.Contains(text, "    "+f.Name.Name+": ") {
				missing = append(missing, f.Name.Name)
			}
		}
	}
	require.Empty(t, missing)
	require.Greater(t, found, 20)
}

// says reports whether a function returns a text or a list of servers.
func says(f *ast.FuncDecl) bool {
	if f.Type.Results == nil || len(f.Type.Results.List) != 1 {
		return false
	}
	switch result := f.Type.Results.List[0].Type.(type) {
	case *ast.Ident:
		return result.Name == "string"
	case *ast.ArrayType:
		return true
	default:
		return false
	}
}

// Every sentence of the source is in the file: a new branch needs a scene of its own.
func TestGoldenFileCoversEverySentence(t *testing.T) {
	t.Parallel()
	text, found := strings.ToLower(goldenText(t)), 0
	var missing []string
	verb := regexp.MustCompile(`%[a-z]`)
	for _, file := range source(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false
			}
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			for _, part := range verb.Split(value, -1) {
				if part = strings.ToLower(strings.TrimSpace(part)); strings.Contains(part, " ") {
					found++
					if !strings.Contains(text, part) {
						missing = append(missing, part)
					}
				}
			}
			return true
		})
	}
	require.Empty(t, missing)
	require.Greater(t, found, 100)
}
