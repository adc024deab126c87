package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// LoadOptions are the loader's ways to the world around it.
type LoadOptions struct {
	// LookupEnv finds the variables of ${VAR}. nil is os.LookupEnv.
	LookupEnv func(name string) (value string, ok bool)
	// ReadFile reads policy files and x_file secrets. nil reads from the file
	// system, and refuses to read more than a policy may have.
	ReadFile func(path string) ([]byte, error)
	// Glob finds the files of include. nil is filepath.Glob.
	Glob func(pattern string) ([]string, error)
}

// maxFileBytes bounds a policy file: 4 MiB hold some 20,000 routes.
const maxFileBytes = 4 << 20

// maxFiles bounds how many files one policy may be made of.
const maxFiles = 1000

// Load reads a policy from a file and those that it includes. The Policy is nil when there are
// errors, and usable when there are only warnings.
func Load(path string, o LoadOptions) (*Policy, Diagnostics) {
	return LoadFiles([]string{path}, o)
}

// LoadFiles reads a policy that is spread over several files as if they were one.
func LoadFiles(paths []string, o LoadOptions) (*Policy, Diagnostics) {
	l := newLoader(o)
	if len(paths) == 0 {
		l.report.errorf(Position{File: "headgate.yaml", Line: 1, Column: 1}, "name one", "there is no policy file to load")
	}
	for _, path := range paths {
		l.readFile(path, Position{File: path, Line: 1, Column: 1})
	}
	return l.finish()
}

// Parse reads a policy from data. Name stands for the file in diagnostics, and relative paths start at its folder.
func Parse(name string, data []byte, o LoadOptions) (*Policy, Diagnostics) {
	l := newLoader(o)
	l.addFile(name)
	l.read(name, data)
	return l.finish()
}

// loader reads files into one policy.
type loader struct {
	LoadOptions
	report report
	policy *Policy
	source *source
	decode *decoder
}

func newLoader(o LoadOptions) *loader {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = readBounded
	}
	if o.Glob == nil {
		o.Glob = filepath.Glob
	}
	l := &loader{LoadOptions: o, policy: &Policy{}, source: newSource()}
	l.policy.setDefaults()
	l.policy.source = l.source
	l.decode = &decoder{report: &l.report, source: l.source, lookupEnv: o.LookupEnv}
	return l
}

// addFile notes a file of the policy, and reports whether it is a new one.
func (l *loader) addFile(name string) bool {
	if slices.ContainsFunc(l.report.files, func(f string) bool { return filepath.Clean(f) == filepath.Clean(name) }) {
		return false
	}
	l.report.files = append(l.report.files, name)
	return true
}

func (l *loader) readFile(path string, from Position) {
	if !l.addFile(path) {
		return // included twice, or by itself: once is enough
	}
	if len(l.report.files) > maxFiles {
		l.report.errorf(from, "use fewer, larger ones", "the policy has more than %d files", maxFiles)
		return
	}
	data, err := l.ReadFile(path)
	if err != nil {
		l.report.errorf(from, "check its name and permissions", "can't read the policy file: %v", err)
		return
	}
	l.read(path, data)
}

// read decodes one file into the policy, then those that it includes.
func (l *loader) read(name string, data []byte) {
	start := Position{File: name, Line: 1, Column: 1}
	if len(data) > maxFileBytes {
		l.report.errorf(start, "spread it over several files with include", "the file is larger than %d MiB", maxFileBytes>>20)
		return
	}
	root, problem := parseYAML(name, data)
	if problem != nil {
		l.report.add(*problem)
		return
	}
	l.source.addFile(name, data, root)
	before := len(l.policy.Include)
	l.decode.file(name, root, l.policy)
	for i, pattern := range l.policy.Include[before:] {
		l.include(name, pattern, l.source.at(fmt.Sprintf("include[%d]", before+i)))
	}
}

func (l *loader) include(from, pattern string, at Position) {
	pattern = relativeTo(filepath.Dir(from), pattern)
	files, err := l.Glob(pattern)
	if err != nil {
		l.report.errorf(at, "see Go's path/filepath.Match for what a pattern may be", "%s is not a valid pattern", quote(pattern))
		return
	}
	if len(files) == 0 {
		l.report.errorf(at, "check the path, which is relative to this file", "no file is named %s", quote(pattern))
	}
	slices.Sort(files)
	for _, file := range files {
		l.readFile(file, at)
	}
}

// finish fills in what was not written and checks the whole. Checks go on after errors, so that one
// run shows them all, but not after YAML that could not be read at all.
func (l *loader) finish() (*Policy, Diagnostics) {
	if len(l.source.files) > 0 && !l.decode.unusable {
		l.readSecrets()
		inherit(l.policy, l.source)
		resolveDefaults(l.policy, l.source)
		validate(l.policy, l.source, &l.report)
	}
	ds := l.report.sorted()
	if ds.HasErrors() {
		return nil, ds
	}
	return l.policy, ds
}

// parseYAML reads one document's nodes.
func parseYAML(name string, data []byte) (*yaml.Node, *Diagnostic) {
	problem := func(line, column int, mend, format string, args ...any) *Diagnostic {
		return &Diagnostic{Position: Position{name, max(line, 1), max(column, 1)}, Message: fmt.Sprintf(format, args...), Mend: mend}
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, problem(1, 1, "begin with `version: 1`", "the file is empty")
	case err != nil:
		line, column, message := yamlError(err, data)
		return nil, problem(line, column, mendYAML(data), "%s", message)
	}
	if len(doc.Content) != 1 || doc.Content[0].Tag == "!!null" {
		return nil, problem(doc.Line, doc.Column, "begin with `version: 1`", "the file is empty")
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		return nil, problem(second.Line, second.Column, "put it into a file of its own and `include` that", "a second YAML document begins here")
	} else if !errors.Is(err, io.EOF) {
		line, column, message := yamlError(err, data)
		return nil, problem(line, column, mendYAML(data), "%s", message)
	}
	return doc.Content[0], nil
}

func mendYAML(data []byte) string {
	if bytes.Contains(data, []byte("${")) {
		return `mend the YAML here or just above; inside { } and [ ], "${VAR}" needs quotes`
	}
	return "mend the YAML here or just above"
}

// yamlError finds the position in the YAML library's error, which has a line at most.
func yamlError(err error, data []byte) (line, column int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	var name string
	if n, _ := fmt.Sscanf(message, "unknown anchor '%s referenced", &name); n == 1 {
		name = strings.TrimSuffix(name, "'")
		if i := bytes.Index(data, []byte("*"+name)); i >= 0 {
			before := data[:i]
			line = bytes.Count(before, []byte("\n")) + 1
			column = len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
		}
		return line, column, fmt.Sprintf("no anchor &%s stands above", name)
	}
	if n, _ := fmt.Sscanf(message, "line %d:", &line); n == 1 {
		_, message, _ = strings.Cut(message, ": ")
	}
	return line, 1, "not valid YAML: " + message
}

// readBounded reads a file, but not more of it than a policy file may have.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

func relativeTo(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
