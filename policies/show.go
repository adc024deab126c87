package policies

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Masked returns the policy as it was written, variables unexpanded and secrets masked; comments
// are left out, as they may hold what was a secret once. Several files stand one after the other, as YAML documents.
//
// A Policy that was not loaded but made in Go has no text: Masked is empty, Hash that of nothing, and Position zero.
func (p *Policy) Masked() []byte {
	var out bytes.Buffer
	for i, f := range p.files() {
		if i > 0 {
			out.WriteString("---\n")
		}
		if len(p.files()) > 1 {
			out.WriteString("# " + quote(f.name) + "\n")
		}
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		// Nodes that were decoded encode again, and a buffer takes every write.
		_ = encoder.Encode(p.source.masked(f.root))
		_ = encoder.Close()
	}
	return out.Bytes()
}

// Hash identifies what the policy's files say: SHA-256 over them, in hexadecimal. What variables
// and secret files hold is not part of it, so that it reveals nothing about them.
func (p *Policy) Hash() string {
	h := sha256.New()
	for _, f := range p.files() {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(f.data)))
		h.Write(length[:])
		h.Write(f.data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Files lists every file that the policy was read from, secrets included: what to watch for changes.
func (p *Policy) Files() []string {
	var names []string
	for _, f := range p.files() {
		names = append(names, f.name)
	}
	if p.source != nil {
		names = append(names, p.source.reads...)
	}
	return names
}

func (p *Policy) files() []sourceFile {
	if p.source == nil {
		return nil
	}
	return p.source.files
}

// Position says where the value at a path like `routes[3]` or `limits.per-ip.window` stands, or
// what is nearest around it.
func (p *Policy) Position(path string) Position {
	if p.source == nil {
		return Position{}
	}
	return p.source.at(path)
}

type maskFunc func(string) string

// masked copies a file's nodes with the secrets masked.
func (s *source) masked(root *yaml.Node) *yaml.Node {
	copies := map[*yaml.Node]*yaml.Node{} // so that aliases lead to the copies
	var copyNode func(n *yaml.Node, ignored bool) *yaml.Node
	copyNode = func(n *yaml.Node, ignored bool) *yaml.Node {
		if n == nil {
			return nil
		}
		if done, ok := copies[n]; ok {
			return done
		}
		c := *n
		copies[n] = &c
		c.HeadComment, c.LineComment, c.FootComment = "", "", ""
		c.Content = slices.Clone(n.Content)
		mask := s.secrets[n]
		if _, used := s.used[n]; ignored && !used && n.Kind == yaml.ScalarNode {
			mask = maskSecret // nobody knows what it is for
		}
		if mask != nil && n.Kind == yaml.ScalarNode {
			c.Value = mask(n.Value)
		}
		c.Alias = copyNode(n.Alias, ignored)
		for i, child := range n.Content {
			inside := ignored
			if n == root && i%2 == 1 && strings.HasPrefix(n.Content[i-1].Value, "x-") {
				inside = true
			}
			if ignored && n.Kind == yaml.MappingNode && i%2 == 0 {
				c.Content[i] = copyKey(child, copies)
				continue
			}
			c.Content[i] = copyNode(child, inside)
		}
		return &c
	}
	return copyNode(root, false)
}

// copyKey copies a key, which is no secret.
func copyKey(n *yaml.Node, copies map[*yaml.Node]*yaml.Node) *yaml.Node {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	copies[n] = &c
	return &c
}

// maskSecret masks what is literal in a secret, and keeps ${VAR}, which says where the secret comes from.
func maskSecret(s string) string {
	parts, err := pieces(s)
	if err != nil {
		return masked
	}
	var b strings.Builder
	for _, p := range parts {
		switch {
		case p.name == "":
			b.WriteString(masked)
		case p.fallback != "":
			b.WriteString("${" + p.name + ":-" + masked + "}")
		case p.hasDefault:
			b.WriteString("${" + p.name + ":-}")
		default:
			b.WriteString("${" + p.name + "}")
		}
	}
	return b.String()
}

// maskURL masks the password in a URL that may hold variables.
func maskURL(s string) string {
	if !strings.Contains(s, "://") {
		return maskSecret(s)
	}
	return maskPasswords(s)
}
