package backend

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is this module's path.
const module = "vault-plugin-secrets-hosting/"

// rooms are the packages of the engine, each with the others that it may import: docs/architecture.md draws them. Arrows
// point one way, from the surface to the record.
var rooms = map[string][]string{
	"backend":             {"connection", "explain", "health", "problem", "proof", "provider", "provider/registry", "credential", "role", "roles", "rotation", "store", "timing"},
	"backend/rotation":    {"connection", "connections", "credential", "explain", "firstread", "gate", "health", "locks", "lockout", "password", "problem", "promise", "proof", "provider", "queue", "role", "roles", "rotation/failpoint", "store", "timing", "verify"},
	"backend/roles":       {"connection", "connections", "credential", "explain", "firstread", "gate", "health", "problem", "provider", "role", "store", "timing"},
	"backend/connections": {"connection", "explain", "health", "locks", "lockout", "password", "problem", "provider", "role", "store", "timing"},
	"backend/gate":        {"explain", "locks", "problem", "role", "store", "timing"},
	"backend/firstread":   {"credential", "locks", "problem", "store", "timing"},
	"backend/health":      {"connection", "credential", "explain", "role", "timing"},
	"backend/explain":     {"connection", "credential", "provider", "role"},
	"backend/store":       {"connection", "credential", "lockout", "provider", "role", "timing"},
	"backend/connection":  {"lockout", "password", "problem", "provider", "timing"},
	"backend/lockout":     {"provider", "timing"},
	"backend/role":        {"credential", "password", "provider", "timing"},
	"backend/problem":     {"provider"},
	"backend/proof":       {"connection", "credential", "explain", "lockout", "problem", "provider", "role", "timing", "verify"},
	"backend/verify":      {"provider", "provider/plesk", "provider/transport"},
	"backend/provider":    {"password", "timing"},
	"backend/queue":       {},
	"backend/promise":     {},
	"backend/locks":       {},
	"backend/timing":      {},
	"backend/credential":  {},
	"backend/password":    {},
}

// product calls f with each Go file of the product below a folder.
func product(t *testing.T, folder string, f func(path string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err == nil {
			f(filepath.ToSlash(path), fset, file)
		}
		return err
	}))
}

// Each package imports only what its place in the structure allows.
func TestPackagesImportOneWay(t *testing.T) {
	t.Parallel()
	for room, allowed := range rooms {
		t.Run(room, func(t *testing.T) {
			t.Parallel()
			folder := "./" + strings.TrimPrefix(strings.TrimPrefix(room, "backend"), "/")
			entries, err := os.ReadDir(folder)
			require.NoError(t, err)
			require.NotEmpty(t, entries)
			product(t, folder, func(path string, _ *token.FileSet, file *ast.File) {
				if filepath.Dir(path) != filepath.Clean(folder) {
					return // another package
				}
				for _, spec := range file.Imports {
					if name, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"backend/"); ours {
						require.Contains(t, allowed, name, "%s must not import it", path)
					}
				}
			})
		})
	}
}

// A newcomer can read a file at a sitting.
func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{".", "../bootstrap", "../cmd"} {
		require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			content, err := os.ReadFile(path)
			require.LessOrEqual(t, bytes.Count(content, []byte("\n")), 400, path)
			return err
		}))
	}
}

// A newcomer can read a type or a package at a sitting. The record is one state machine, and so exempt.
func TestPackagesStaySmall(t *testing.T) {
	t.Parallel()
	lines, methods := map[string]int{}, map[string]int{}
	product(t, ".", func(path string, fset *token.FileSet, file *ast.File) {
		folder := filepath.Dir(path)
		lines[folder] += fset.File(file.Pos()).LineCount()
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				receiver := f.Recv.List[0].Type
				if pointer, ok := receiver.(*ast.StarExpr); ok {
					receiver = pointer.X
				}
				methods[folder+"."+lastName(receiver)]++
			}
		}
	})
	require.Greater(t, methods["rotation.Engine"], 10)
	delete(methods, "credential.Record")
	for name, n := range methods {
		require.LessOrEqual(t, n, 45, "methods of %s", name)
	}
	for folder, n := range lines {
		require.LessOrEqual(t, n, 3000, "lines of %s", folder)
	}
}

// A remote system is called in one place only: Handle.Call and Handle.Check keep the limits of a connection. So a client is
// opened by the cache alone, held by the handle alone, and used elsewhere only in a function that is passed to Call.
func TestClientsAreCalledInOnePlace(t *testing.T) {
	t.Parallel()
	passed := 0
	product(t, ".", func(path string, fset *token.FileSet, file *ast.File) {
		if strings.HasPrefix(path, "provider/") || path == "connection/handle.go" {
			return
		}
		var toCall []ast.Node // functions that are passed to Call
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				selector, _ := call.Fun.(*ast.SelectorExpr)
				switch {
				case selector == nil:
				case selector.Sel.Name == "Call":
					for _, argument := range call.Args {
						toCall = append(toCall, argument)
					}
				case selector.Sel.Name == "Open" && len(call.Args) == 1 && path != "connection/cache.go":
					others := []string{"Cache", "Record", "rec", "config"} // what else has a method Open
					require.Contains(t, others, lastName(selector.X), "%s: opens a client", fset.Position(call.Pos()))
				}
			}
			if literal, ok := n.(*ast.FuncLit); ok && slices.Contains(toCall, ast.Node(literal)) {
				passed++
				return true
			}
			if function, ok := n.(*ast.FuncType); ok && mentionsClient(function) {
				within := slices.ContainsFunc(toCall, func(f ast.Node) bool { return f.Pos() <= n.Pos() && n.End() <= f.End() })
				require.True(t, within, "%s: uses a client outside Handle.Call", fset.Position(n.Pos()))
				return false
			}
			if field, ok := n.(*ast.Field); ok {
				require.False(t, isClient(field.Type), "%s: holds a client", fset.Position(n.Pos()))
			}
			return true
		})
	})
	require.Positive(t, passed, "something is called at all")
}

// lastName is the last name of a.b.c.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	default:
		return ""
	}
}

func isClient(e ast.Expr) bool {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	name, ok := selector.X.(*ast.Ident)
	return ok && name.Name == "provider" && selector.Sel.Name == "Client"
}

func mentionsClient(f *ast.FuncType) bool {
	return slices.ContainsFunc(f.Params.List, func(p *ast.Field) bool { return isClient(p.Type) })
}
