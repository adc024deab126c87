package yamlnode

import (
	"github.com/headgate/headgate/middleware/problem"
	"go.yaml.in/yaml/v3"
)

// Walker goes through the nodes of a file: through aliases, which it bounds, and through
// mappings with what they merge. [Decoder] turns what it meets into Go types; a file whose keys
// are a grammar of their own reads the nodes itself.
type Walker struct {
	Report *Report
	Name   string // of the file at hand
	// LookupEnv finds the variables of ${VAR}. Nil: ${ has no meaning.
	LookupEnv func(string) (string, bool)
	// AliasMend says how to mend that aliases stand for too many values.
	AliasMend string
	// Unusable is set where so much is wrong that judging the values would only confuse.
	Unusable bool

	used    map[*yaml.Node]struct{} // the nodes that an alias led to; nil: they are not noted
	aliased int                     // how many aliases lead to the node at hand
	visits  int                     // nodes that aliases made us read again
}

// maxAliasVisits bounds the nodes that are read through aliases: a few lines of aliases of aliases can stand for billions.
const maxAliasVisits = 200_000

// maxNesting bounds anchors that contain themselves; no policy nests its values as deeply.
const maxNesting = 32

// Position is where a node stands in the file at hand.
func (w *Walker) Position(n *yaml.Node) Position {
	return Position{w.Name, max(n.Line, 1), max(n.Column, 1)}
}

// Enter follows an alias to what it stands for. The caller reads the node and then calls leave;
// where ok is false, aliases stand for too much, and the node is not to be read.
func (w *Walker) Enter(n *yaml.Node) (target *yaml.Node, leave func(), ok bool) {
	leave = func() {}
	if n.Kind == yaml.AliasNode {
		w.aliased++
		leave = func() { w.aliased-- }
		n = n.Alias
	}
	return n, leave, w.visit(n)
}

// visit counts what aliases make the decoder read, and stops a bomb of them.
func (w *Walker) visit(n *yaml.Node) bool {
	if w.aliased == 0 {
		return true
	}
	if w.used != nil {
		w.used[n] = struct{}{}
	}
	w.visits++
	if w.visits > maxAliasVisits {
		if !w.Unusable {
			w.Unusable = true
			w.Report.Errorf(w.Position(n), w.AliasMend, "aliases stand for more than %d values", maxAliasVisits)
		}
		return false
	}
	return true
}

// Pair is a key of a mapping with its value.
type Pair struct {
	Name       string // the key, its variables expanded
	Key, Value *yaml.Node
}

// Pairs lists a mapping's keys: its own first, then those that it merges with << and does not have itself.
func (w *Walker) Pairs(n *yaml.Node) []Pair { return w.pairs(n, 0) }

func (w *Walker) pairs(n *yaml.Node, depth int) []Pair {
	var own []Pair
	var merges []*yaml.Node
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		key := k
		if k.Kind == yaml.AliasNode {
			key = k.Alias
		}
		if key.Kind != yaml.ScalarNode {
			w.Report.Errorf(w.Position(k), "write a word, and quote it where it is more", "a key is %s", Describe(key))
			continue
		}
		if key.Tag == "!!merge" {
			merges = append(merges, value)
			continue
		}
		name := key.Value
		if w.LookupEnv != nil {
			var err *expandError
			if name, err = expand(key.Value, w.LookupEnv); err != nil {
				w.Report.Errorf(w.Position(k), err.mend, "%s", err.message)
				continue
			}
		}
		if earlier, dup := first[name]; dup {
			w.Report.Errorf(w.Position(k), "remove one of them", "the key %s is given twice, first at line %d", problem.Quote(name), earlier.Line)
			continue
		}
		first[name] = k
		own = append(own, Pair{name, k, value})
	}
	for _, m := range merges {
		for _, p := range w.merged(m, depth+1) {
			if _, mine := first[p.Name]; !mine {
				first[p.Name] = p.Key
				own = append(own, p)
			}
		}
	}
	return own
}

// merged lists what a << brings: a mapping's pairs, or those of a list of mappings, of which earlier ones win.
func (w *Walker) merged(n *yaml.Node, depth int) []Pair {
	at := n
	if depth > maxNesting {
		w.Report.Errorf(w.Position(at), "unravel them", "merge keys are nested too deeply")
		return nil
	}
	n, leave, ok := w.Enter(n)
	defer leave()
	if !ok {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := w.pairs(n, depth)
		for range out {
			w.visits++
		}
		return out
	case yaml.SequenceNode:
		var out []Pair
		seen := map[string]bool{}
		for _, m := range n.Content {
			for _, p := range w.merged(m, depth+1) {
				if !seen[p.Name] {
					seen[p.Name] = true
					out = append(out, p)
				}
			}
		}
		return out
	}
	w.Report.Errorf(w.Position(at), "merge an alias of a mapping: `<<: *name`", "<< merges %s", Describe(n))
	return nil
}
