package yamlnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFileBytes bounds what one file may have: 4 MiB hold some 20,000 routes.
const MaxFileBytes = 4 << 20

// Parse returns the root node of a file that holds one YAML document, or what is wrong with it.
func Parse(name string, data []byte) (*yaml.Node, *Diagnostic) {
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
		return nil, problem(line, column, mendYAML(data, line), "%s", message)
	}
	if len(doc.Content) != 1 || doc.Content[0].Tag == "!!null" {
		return nil, problem(doc.Line, doc.Column, "begin with `version: 1`", "the file is empty")
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		return nil, problem(second.Line, second.Column, "put it into a file of its own and `include` that", "a second YAML document begins here")
	} else if !errors.Is(err, io.EOF) {
		line, column, message := yamlError(err, data)
		return nil, problem(line, column, mendYAML(data, line), "%s", message)
	}
	return doc.Content[0], nil
}

// indentedByTab returns the first line with a tab before its text; 0 where there is none.
func indentedByTab(data []byte) int {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
			return i + 1
		}
	}
	return 0
}

func mendYAML(data []byte, line int) string {
	if line > 0 && line == indentedByTab(data) {
		return "write spaces for the tab"
	}
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
	if at := indentedByTab(data); at > 0 && strings.Contains(message, "cannot start any token") {
		return at, 1, "a tab indents this line, and YAML is indented by spaces"
	}
	return line, 1, "not valid YAML: " + message
}
