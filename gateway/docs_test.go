package main

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateLists = flag.Bool("update-lists", false, "write the lists of files in CONTRIBUTING.md anew")

// sources returns all files of the repository with one of these endings, by
// their path from its root.
func sources(t *testing.T, endings ...string) []string {
	t.Helper()
	var files []string
	must(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && (name == "node_modules" || name == "bin" || name == "testdata" || strings.HasPrefix(name, ".") && name != ".."):
			return filepath.SkipDir
		case !d.IsDir() && slices.Contains(endings, filepath.Ext(name)):
			rel, err := filepath.Rel("..", path)
			if err != nil {
				return err
			}
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	}))
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	must(t, err)
	return string(text)
}

func TestRelativeLinksInAllPagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range sources(t, ".md") {
		for _, match := range regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`).FindAllStringSubmatch(read(t, page), -1) {
			links++
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(page), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			}
		}
	}
	if links < 20 {
		t.Errorf("%d links were found", links)
	}
}

// A path is what stands in backticks and begins with a folder of the repository's
// root. A bare name in backticks that ends like a file is a file of the package whose
// bold name begins the paragraph, or the only one of its name.
func TestContributingNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	byName := map[string]int{}
	for _, file := range sources(t, ".go", ".md", ".lua", ".json") {
		byName[filepath.Base(file)]++
	}
	bare := regexp.MustCompile("`(\\w+\\.(?:go|lua|md|json))`")
	for _, page := range []string{"CONTRIBUTING.md", "docs/architecture.md"} {
		for paragraph := range strings.SplitSeq(read(t, page), "\n\n") {
			folder := ""
			if bold := regexp.MustCompile(`^\*\*([\w/]+)\*\*`).FindStringSubmatch(paragraph); bold != nil {
				folder = bold[1]
			}
			for _, match := range bare.FindAllStringSubmatch(paragraph, -1) {
				if _, err := os.Stat(filepath.Join("..", folder, match[1])); err != nil && byName[match[1]] != 1 {
					t.Errorf("%s names %s, which is not in %q and not the only file of that name (there are %d)", page, match[1], folder, byName[match[1]])
				}
			}
		}
		for _, match := range regexp.MustCompile("`((?:gateway|policies|middleware|internal|examples|tools|docs)/[\\w./-]+)`").FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join("..", match[1])); err != nil {
				t.Errorf("%s names %s: %v", page, match[1], err)
			}
		}
	}
}

// list is a list of files in CONTRIBUTING.md: a pattern that the files have
// in common, folders to look in, and a line for each file.
var list = regexp.MustCompile(`(?s)<!-- list: (\S+?)(?:, in ([^>]*?))? -->\n(.*?)<!-- end -->`)

func TestContributingListsTheFilesToTouch(t *testing.T) {
	t.Parallel()
	page := read(t, "CONTRIBUTING.md")
	files := sources(t, ".go", ".lua")
	found := list.FindAllStringSubmatch(page, -1)
	if len(found) != 5 {
		t.Fatalf("CONTRIBUTING.md has %d lists", len(found))
	}
	for _, match := range found {
		want := writeList(t, files, match[1], strings.Fields(match[2]), match[3])
		if match[3] == want {
			continue
		}
		if !*updateLists {
			t.Errorf("the list of files that name %s is\n%swhere the sources have\n%s\ngo test ./gateway -run Contributing -update-lists writes it", match[1], match[3], want)
		}
		page = strings.Replace(page, match[0], strings.TrimSuffix(match[0], match[3]+"<!-- end -->")+want+"<!-- end -->", 1)
	}
	if *updateLists {
		must(t, os.WriteFile("../CONTRIBUTING.md", []byte(page), 0o644))
	}
}

// writeList writes a list of the hand-written files that name a pattern. A line
// that is there already is kept, with what it says of the file.
func writeList(t *testing.T, files []string, pattern string, folders []string, old string) string {
	t.Helper()
	lines := map[string]string{}
	for line := range strings.Lines(old) {
		if _, rest, ok := strings.Cut(line, "`"); ok {
			path, _, _ := strings.Cut(rest, "`")
			lines[path] = line
		}
	}
	var out bytes.Buffer
	for _, path := range files {
		folder, _, _ := strings.Cut(path, "/")
		if strings.HasSuffix(path, "_test.go") || len(folders) > 0 && !slices.Contains(folders, folder) || !regexp.MustCompile(pattern).MatchString(read(t, path)) {
			continue
		}
		if lines[path] == "" {
			lines[path] = "- `" + path + "`\n"
		}
		out.WriteString(lines[path])
	}
	return out.String()
}
