package segue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the building: a package imports strictly lower floors only.
var floors = map[string]int{
	"cmd/broker":                  8,
	"integration":                 8,
	"integration/bench":           8,
	"integration/bench/bare":      0,
	"integration/clients":         8,
	"integration/clients/franzgo": 8,
	"internal/broker":             7,
	"internal/handler":            6,
	"internal/handler/fetch":      5,
	"internal/console":            5,
	"internal/server":             4,
	"internal/inspect":            4,
	"internal/coordinator/group":  4,
	"internal/coordinator/txn":    4,
	"internal/coordinator":        3,
	"internal/security":           3,
	"internal/placement":          3,
	"internal/catalog/local":      3,
	"partition/logtest":           3,
	"partition":                   2,
	"internal/catalog":            2,
	"protocol":                    1,
	"storage":                     1,
	"integration/history":         0,
	"integration/kafka":           1,
	"integration/proc":            0,
	"integration/oracle":          8,
	"storage/record":              0,
	"storage/vfs":                 0,
	"internal/config":             0,
}

// forbidden are imports that the floors alone would allow.
var forbidden = map[string][]string{
	"partition":                  {"protocol"},
	"internal/coordinator":       {"protocol"},
	"internal/coordinator/group": {"protocol"},
	"internal/coordinator/txn":   {"protocol"},
}

// onlyIn are modules that one package alone may import.
var onlyIn = map[string]string{
	"github.com/prometheus/client_golang": "internal/console",
	"github.com/spf13/pflag":              "cmd/broker",
	"github.com/spf13/cobra":              "cmd/broker",
	"github.com/schollz/progressbar":      "internal/inspect",
	"github.com/magiconair/properties":    "internal/config",
}

// bannedWords are words that say nothing in the name of a package or a type.
var bannedWords = []string{"util", "common", "helper", "types", "base", "impl", "misc", "manager"}

// allowedNames are the exceptions to bannedWords.
var allowedNames = []string{"partition.Manager", "partition.ManagerOptions", "partition.ManagerStats"}

// plainMethods are methods that mean the same everywhere and need no comment.
var plainMethods = []string{"Error", "Unwrap", "String"}

// TestArchitecture parses the sources itself: a test that ran the go command would stay green from the cache.
func TestArchitecture(t *testing.T) {
	packages := map[string]*goPackage{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || isModule(name)) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		dir := path.Dir(filepath.ToSlash(name))
		if packages[dir] == nil {
			packages[dir] = &goPackage{dir: dir}
		}
		packages[dir].parse(t, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, p := range packages {
		if !p.hasCode {
			continue // tests only
		}
		if _, listed := floors[dir]; !listed {
			t.Errorf("package %s stands on no floor", dir)
		}
		if p.docs != 1 {
			t.Errorf("package %s has %d package comments, want 1", dir, p.docs)
		}
	}
}

// isModule says whether a directory is a module of its own: a client of the tests, which imports nothing of ours.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// goPackage is what the test notes of a package.
type goPackage struct {
	dir     string
	hasCode bool
	docs    int
}

func (p *goPackage) parse(t *testing.T, name string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, "_test.go") {
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && isSelector(c.Fun, "time", "Sleep") && !usesSynctest(f) {
				t.Errorf("%s sleeps: wait for a condition, or use testing/synctest", name)
			}
			return true
		})
		return
	}
	p.hasCode = true
	if f.Doc != nil {
		p.docs++
	}
	for _, spec := range f.Imports {
		p.checkImport(t, name, spec)
	}
	for _, d := range f.Decls {
		p.checkDecl(t, name, d)
	}
	for _, word := range bannedWords {
		if strings.Contains(path.Base(p.dir), word) {
			t.Errorf("package %s: %q says nothing", p.dir, word)
		}
	}
}

func (p *goPackage) checkImport(t *testing.T, name string, spec *ast.ImportSpec) {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		t.Fatal(err)
	}
	for module, owner := range onlyIn {
		if strings.HasPrefix(imported, module) && p.dir != owner {
			t.Errorf("%s imports %s, which only %s may", name, imported, owner)
		}
	}
	own, ok := strings.CutPrefix(imported, "segue/")
	if !ok {
		return
	}
	if floors[own] >= floors[p.dir] {
		t.Errorf("%s (floor %d) imports %s (floor %d): imports go strictly down", name, floors[p.dir], own, floors[own])
	}
	if slices.Contains(forbidden[p.dir], own) {
		t.Errorf("%s must not import %s", name, own)
	}
}

func (p *goPackage) checkDecl(t *testing.T, name string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name == "init" {
			t.Errorf("%s has an init function", name)
		}
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !slices.Contains(plainMethods, d.Name.Name) {
			t.Errorf("%s: exported %s has no comment", name, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			s, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
				t.Errorf("%s: exported type %s has no comment", name, s.Name.Name)
			}
			full := path.Base(p.dir) + "." + s.Name.Name
			for _, word := range bannedWords {
				if strings.Contains(strings.ToLower(s.Name.Name), word) && !slices.Contains(allowedNames, full) {
					t.Errorf("%s: type %s: %q says nothing", name, s.Name.Name, word)
				}
			}
		}
	}
}

// exportedReceiver says whether a function is one, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}

// usesSynctest says whether a test file runs on the clock of testing/synctest, where a sleep takes no time.
func usesSynctest(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"testing/synctest"` })
}
