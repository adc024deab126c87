package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/internal/yamlnode"
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
	// CheckFiles checks the files that the policy names, too: certificates, keys, the access
	// log's folder. A gateway does not start where one of them is missing.
	CheckFiles bool
}

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
		l.report.Errorf(Position{File: "headgate.yaml", Line: 1, Column: 1}, "name one", "there is no policy file to load")
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
	report yamlnode.Report
	policy *Policy
	source *yamlnode.Source
	decode *yamlnode.Decoder
}

func newLoader(o LoadOptions) *loader {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = filestate.Read
	}
	if o.Glob == nil {
		o.Glob = filepath.Glob
	}
	l := &loader{LoadOptions: o, policy: &Policy{}, source: yamlnode.NewSource()}
	l.policy.SetDefaults()
	l.policy.source = l.source
	l.decode = &yamlnode.Decoder{Walker: yamlnode.Walker{Report: &l.report, LookupEnv: o.LookupEnv, AliasMend: "write it out, or use groups"}, Source: l.source}
	return l
}

// addFile notes a file of the policy, and reports whether it is a new one.
func (l *loader) addFile(name string) bool {
	if slices.ContainsFunc(l.report.Files, func(f string) bool { return filepath.Clean(f) == filepath.Clean(name) }) {
		return false
	}
	l.report.Files = append(l.report.Files, name)
	return true
}

func (l *loader) readFile(path string, from Position) {
	if !l.addFile(path) {
		return // included twice, or by itself: once is enough
	}
	if len(l.report.Files) > maxFiles {
		l.report.Errorf(from, "use fewer, larger ones", "the policy has more than %d files", maxFiles)
		return
	}
	data, err := l.ReadFile(path)
	if err != nil {
		l.report.Errorf(from, "check its name and permissions", "can't read the policy file: %v", err)
		return
	}
	l.read(path, data)
}

// read decodes one file into the policy, then those that it includes.
func (l *loader) read(name string, data []byte) {
	start := Position{File: name, Line: 1, Column: 1}
	if len(data) > yamlnode.MaxFileBytes {
		l.report.Errorf(start, "spread it over several files with include", "the file is larger than %d MiB", yamlnode.MaxFileBytes>>20)
		return
	}
	root, wrong := yamlnode.Parse(name, data)
	if wrong != nil {
		l.report.Add(*wrong)
		return
	}
	before := len(l.policy.Include)
	l.decode.File(yamlnode.File{Name: name, Data: data, Root: root}, l.policy)
	for i, pattern := range l.policy.Include[before:] {
		l.include(name, pattern, l.source.At(fmt.Sprintf("include[%d]", before+i)))
	}
}

func (l *loader) include(from, pattern string, at Position) {
	pattern = relativeTo(filepath.Dir(from), pattern)
	files, err := l.Glob(pattern)
	if err != nil {
		l.report.Errorf(at, "see Go's path/filepath.Match for what a pattern may be", "%s is not a valid pattern", quote(pattern))
		return
	}
	if len(files) == 0 {
		l.report.Errorf(at, "check the path, which is relative to this file", "no file is named %s", quote(pattern))
	}
	slices.Sort(files)
	for _, file := range files {
		l.readFile(file, at)
	}
}

// finish fills in what was not written and checks the whole. Checks go on after errors, so that one
// run shows them all, but not after YAML that could not be read at all.
func (l *loader) finish() (*Policy, Diagnostics) {
	if len(l.source.Files) > 0 && !l.decode.Unusable {
		l.readSecrets()
		l.shareSecrets()
		inherit(l.policy, l.source)
		resolveDefaults(l.policy, l.source)
		validate(l.policy, l.source, &l.report, l.CheckFiles)
	}
	ds := l.report.Sorted()
	if ds.HasErrors() {
		return nil, ds
	}
	return l.policy, ds
}

func relativeTo(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
