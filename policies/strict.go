package policies

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// What the files that go with a policy, such as its tests, are read with, so
// that all of them are as strict, and complain in the same words.

// ParseYAML returns the root node of a file that holds one YAML document, or
// what is wrong with it.
func ParseYAML(name string, data []byte) (*yaml.Node, *Diagnostic) {
	if len(data) > maxFileBytes {
		return nil, &Diagnostic{Position: Position{name, 1, 1}, Mend: "split it",
			Message: fmt.Sprintf("the file is larger than %d MiB", maxFileBytes>>20)}
	}
	return parseYAML(name, data)
}

// ParseDuration reads a duration as policies have it: 90s, 1m30s, 12h, 7d. The
// error says what is wrong with the text, without quoting it.
func ParseDuration(s string) (Duration, error) {
	d, problem := parseDuration(s)
	if problem != "" {
		return 0, fmt.Errorf("%s", problem)
	}
	return d, nil
}

// DidYouMean is the mend for a word that nothing knows: the known word that is
// nearest to it, or all that there are. kind says what they are, such as "limits".
func DidYouMean(word, kind string, known []string) string {
	return didYouMean(word, kind, known)
}
