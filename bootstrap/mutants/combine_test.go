package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// combineFile combines mutants of one file, and checks that the result compiles. Each pair is an old text and its new one.
func combineFile(t *testing.T, text string, pairs ...[2]string) (result string, switched map[string]bool) {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "p"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "p", "a.go"), []byte(text), 0o600))
	var all []mutant
	for i, pair := range pairs {
		all = append(all, mutant{name: fmt.Sprintf("m-%c", 'a'+i), file: "p/a.go", old: pair[0], new: pair[1]})
	}
	texts, switched, err := combine(root, all)
	require.NoError(t, err)
	if len(switched) == 0 {
		require.Empty(t, texts)
		return "", switched
	}
	require.Equal(t, "package p\n\nimport \"os\"\n\nvar activeMutant = os.Getenv(\"MUTANT\")\n", texts["p/active_mutant.go"])
	require.Len(t, texts, 2)
	files := token.NewFileSet()
	a, err := parser.ParseFile(files, "a.go", texts["p/a.go"], 0)
	require.NoError(t, err)
	b, err := parser.ParseFile(files, "b.go", "package p\n\nvar activeMutant string\n", 0)
	require.NoError(t, err)
	_, err = new(types.Config).Check("p", files, []*ast.File{a, b}, nil)
	require.NoError(t, err, texts["p/a.go"])
	return texts["p/a.go"], switched
}

func TestFunctionWithMutantsIsDispatched(t *testing.T) {
	t.Parallel()
	got, switched := combineFile(t, `package p

// half is half of it.
func half(n int) int {
	if n == 1 {
		return 0
	}
	return n / 2
}

func other() {}
`, [2]string{"n == 1", "n == 2"}, [2]string{"return n / 2\n", "n++\n\treturn n / 2\n"})
	require.Equal(t, map[string]bool{"m-a": true, "m-b": true}, switched)
	require.Equal(t, `package p

// half is half of it.
func half_original(n int) int {
	if n == 1 {
		return 0
	}
	return n / 2
}

func other() {}

//line a.go:4
func half(arg0 int) int {
	switch activeMutant {
	case "m-a":
		return half_m_a(arg0)
	case "m-b":
		return half_m_b(arg0)
	default:
		return half_original(arg0)
	}
}

//line a.go(m-a):4
func half_m_a(n int) int {
	if n == 2 {
		return 0
	}
	return n / 2
}

//line a.go(m-b):4
func half_m_b(n int) int {
	if n == 1 {
		return 0
	}
	n++
	return n / 2
}
`, got)
}

func TestDispatcherHasSignatureOfFunction(t *testing.T) {
	t.Parallel()
	const declared = "package p\n\ntype T struct{}\n\ntype G[K comparable, V any] map[K]V\n\n"
	for name, row := range map[string]struct{ function, head, call string }{
		"nothing":              {"func f() { println(1) }", "func f() {", "f_m_a()"},
		"parameters of a type": {"func f(a, _ int, s string) { println(1) }", "func f(arg0 int, arg1 int, arg2 string) {", "f_m_a(arg0, arg1, arg2)"},
		"unnamed parameters":   {"func f(int, func(a int) error) { println(1) }", "func f(arg0 int, arg1 func(a int) error) {", "f_m_a(arg0, arg1)"},
		"variadic":             {"func f(n int, s ...string) { println(1) }", "func f(arg0 int, arg1 ...string) {", "f_m_a(arg0, arg1...)"},
		"named results":        {"func f() (n int, err error) { println(1); return }", "func f() (n int, err error) {", "return f_m_a()"},
		"method":               {"func (t *T) f() bool { println(1); return t == nil }", "func (receiver *T) f() bool {", "return receiver.f_m_a()"},
		"unnamed receiver":     {"func (T) f(T) { println(1) }", "func (receiver T) f(arg0 T) {", "receiver.f_m_a(arg0)"},
		"method of a generic type": {"func (g G[K, V]) f(k K) V { println(1); return g[k] }", "func (receiver G[K, V]) f(arg0 K) V {",
			"return receiver.f_m_a(arg0)"},
		"generic": {"func f[K, L comparable, V any](v V) { println(1) }", "func f[K, L comparable, V any](arg0 V) {", "f_m_a[K, L, V](arg0)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, switched := combineFile(t, declared+row.function+"\n", [2]string{"println(1)", "println(2)"})
			require.True(t, switched["m-a"])
			require.Contains(t, got, "\n"+row.head+"\n\tswitch activeMutant {\n\tcase \"m-a\":\n\t\t"+row.call+"\n")
		})
	}
}

func TestMutantOutsideOfFunctionBodyIsNotSwitched(t *testing.T) {
	t.Parallel()
	const text = `package p

const limit = 3

func one(n int) bool { return n < limit }

func two(n int) bool { return n > limit }
`
	for name, pair := range map[string][2]string{
		"a constant":       {"limit = 3", "limit = 4"},
		"a signature":      {"one(n int)", "one(n uint)"},
		"two functions":    {"< limit }\n\nfunc two(n int) bool { return n >", "> limit }\n\nfunc two(n int) bool { return n <"},
		"no longer there":  {"n == limit", "true"},
		"more than a text": {"n int", "m int"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, switched := combineFile(t, text, pair)
			require.Empty(t, switched)
		})
	}

	// A quote may be longer than what it changes.
	got, switched := combineFile(t, text, [2]string{"limit = 3", "limit = 4"},
		[2]string{"func one(n int) bool { return n <", "func one(n int) bool { return n >"})
	require.Equal(t, map[string]bool{"m-b": true}, switched)
	require.Contains(t, got, "limit = 3")
}
