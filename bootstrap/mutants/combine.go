package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// activeVariable is the environment variable with the name of the mutant that a combined build runs.
const activeVariable = "MUTANT"

// activeText is the file that each package with switched mutants gets.
const activeText = "package %s\n\nimport \"os\"\n\nvar activeMutant = os.Getenv(%q)\n"

// original is the version of a function without a mutant.
const original = "original"

// edit is what a mutant changes: it replaces the bytes from:to of the file, and text is the whole file afterwards.
type edit struct {
	mutant, text string
	from, to     int
}

// combine returns the texts of a build with all mutants that can be switched at run time, by file, and the names of these
// mutants. The others need a build of their own.
func combine(root string, all []mutant) (texts map[string]string, switched map[string]bool, err error) {
	edits := map[string][]edit{}
	texts, switched = map[string]string{}, map[string]bool{}
	for _, m := range all {
		if text, err := m.source(root); err == nil { // else, trying the mutant reports the error
			edits[m.file] = append(edits[m.file], edit{mutant: m.name, text: text})
		}
	}
	for file, of := range edits {
		text, err := os.ReadFile(filepath.Join(root, file)) //nolint:gosec // a path from the list
		if err != nil {
			return nil, nil, err
		}
		c, err := parse(file, string(text))
		if err != nil {
			return nil, nil, err
		}
		names := c.add(of)
		if len(names) == 0 {
			continue
		}
		for _, name := range names {
			switched[name] = true
		}
		texts[file] = c.result()
		texts[path.Join(path.Dir(file), "active_mutant.go")] = fmt.Sprintf(activeText, c.tree.Name.Name, activeVariable)
	}
	return texts, switched, nil
}

// combined is a file that gets several versions of its functions. A function with mutants becomes a dispatcher that calls
// either a copy with the defect of the active mutant, or the original.
type combined struct {
	file, text string
	tree       *ast.File
	// head is the text up to the end of the last name that was changed, and tail what follows the text.
	head, tail strings.Builder
	done       int
}

func parse(file, text string) (*combined, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	return &combined{file: file, text: text, tree: tree}, err
}

// add adds the edits that change the body of one function and nothing else. It returns the names of their mutants.
func (c *combined) add(edits []edit) (names []string) {
	for i := range edits {
		edits[i].locate(c.text)
	}
	for _, decl := range c.tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		var inside []edit
		for _, e := range edits {
			if e.from > c.offset(f.Body.Lbrace) && e.to <= c.offset(f.Body.Rbrace) {
				inside = append(inside, e)
				names = append(names, e.mutant)
			}
		}
		if len(inside) > 0 {
			c.dispatch(f, inside)
		}
	}
	return names
}

// locate finds the bytes that differ from the original.
func (e *edit) locate(before string) {
	rest := min(len(before), len(e.text))
	for e.from < rest && before[e.from] == e.text[e.from] {
		e.from++
	}
	same := 0
	for same < rest-e.from && before[len(before)-1-same] == e.text[len(e.text)-1-same] {
		same++
	}
	e.to = len(before) - same
}

// dispatch renames a function, and adds its dispatcher and a copy for each edit. The compiler reports a mistake in a copy by
// the mutant's name and the line in the source.
func (c *combined) dispatch(f *ast.FuncDecl, edits []edit) {
	start, name, afterName, end := c.offset(f.Pos()), c.offset(f.Name.Pos()), c.offset(f.Name.End()), c.offset(f.End())
	c.head.WriteString(c.text[c.done:name] + copyName(f, original))
	c.done = afterName

	file, line := path.Base(c.file), 1+strings.Count(c.text[:start], "\n")
	fmt.Fprintf(&c.tail, "\n//line %s:%d\n%s {\n\tswitch activeMutant {\n", file, line, c.signature(f))
	for _, e := range edits {
		fmt.Fprintf(&c.tail, "\tcase %q:\n\t\t%s\n", e.mutant, c.call(f, e.mutant))
	}
	fmt.Fprintf(&c.tail, "\tdefault:\n\t\t%s\n\t}\n}\n", c.call(f, original))
	for _, e := range edits {
		after := e.text[afterName : end+len(e.text)-len(c.text)]
		fmt.Fprintf(&c.tail, "\n//line %s(%s):%d\n%s\n", file, e.mutant, line, c.text[start:name]+copyName(f, e.mutant)+after)
	}
}

// signature returns the head of a function's dispatcher. All its parameters have names.
func (c *combined) signature(f *ast.FuncDecl) string {
	var out strings.Builder
	out.WriteString("func ")
	if f.Recv != nil {
		out.WriteString("(receiver " + c.source(f.Recv.List[0].Type) + ") ")
	}
	out.WriteString(f.Name.Name)
	if f.Type.TypeParams != nil {
		out.WriteString(c.source(f.Type.TypeParams))
	}
	var params []string
	for i, kind := range parameters(f) {
		params = append(params, fmt.Sprintf("arg%d %s", i, c.source(kind)))
	}
	out.WriteString("(" + strings.Join(params, ", ") + ")")
	if f.Type.Results != nil {
		out.WriteString(" " + c.source(f.Type.Results))
	}
	return out.String()
}

// call returns the statement in a dispatcher that calls a version of its function.
func (c *combined) call(f *ast.FuncDecl, version string) string {
	var out strings.Builder
	if f.Type.Results.NumFields() > 0 {
		out.WriteString("return ")
	}
	if f.Recv != nil {
		out.WriteString("receiver.")
	}
	out.WriteString(copyName(f, version))
	if f.Type.TypeParams != nil {
		var types []string
		for _, field := range f.Type.TypeParams.List {
			for _, name := range field.Names {
				types = append(types, name.Name)
			}
		}
		out.WriteString("[" + strings.Join(types, ", ") + "]")
	}
	var args []string
	for i, kind := range parameters(f) {
		arg := fmt.Sprintf("arg%d", i)
		if _, variadic := kind.(*ast.Ellipsis); variadic {
			arg += "..."
		}
		args = append(args, arg)
	}
	out.WriteString("(" + strings.Join(args, ", ") + ")")
	return out.String()
}

// parameters returns the type of each parameter.
func parameters(f *ast.FuncDecl) (kinds []ast.Expr) {
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			kinds = append(kinds, field.Type)
		}
	}
	return kinds
}

// copyName returns the name of a version of a function.
func copyName(f *ast.FuncDecl, version string) string {
	return f.Name.Name + "_" + strings.ReplaceAll(version, "-", "_")
}

// result returns the text of the file with everything that was added.
func (c *combined) result() string { return c.head.String() + c.text[c.done:] + c.tail.String() }

func (c *combined) source(n ast.Node) string { return c.text[c.offset(n.Pos()):c.offset(n.End())] }

func (c *combined) offset(p token.Pos) int { return int(p - c.tree.FileStart) }
