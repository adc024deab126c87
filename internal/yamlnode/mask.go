package yamlnode

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/mask"
	"go.yaml.in/yaml/v3"
)

type maskFunc func(string) string

// Masked copies a file's nodes with the secrets masked and without comments, which may hold
// what was a secret once. Top-level keys that begin with x- are masked where no alias led to them.
func (s *Source) Masked(root *yaml.Node) *yaml.Node {
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
		hide := s.secrets[n]
		if _, used := s.used[n]; ignored && !used && n.Kind == yaml.ScalarNode {
			hide = maskSecret // no type says what it is for
		}
		if hide != nil && n.Kind == yaml.ScalarNode {
			c.Value = hide(n.Value)
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
		return mask.Secret
	}
	var b strings.Builder
	for _, p := range parts {
		switch {
		case p.name == "":
			b.WriteString(mask.Secret)
		case p.fallback != "":
			b.WriteString("${" + p.name + ":-" + mask.Secret + "}")
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
	return mask.URL(s)
}
