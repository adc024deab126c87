package yamlnode

import (
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// masked stands where a secret would.
const masked = "***"

// MaskURL masks the user information and every query value that could be a
// secret in a URL, or in several with commas between them. It looks at text
// rather than parse, as a URL that does not parse must not leak its password either.
func MaskURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		if s == "" {
			return ""
		}
		return masked
	}
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		user := rest[:at]
		if name, _, found := strings.Cut(user, ":"); found {
			user = name + ":" + masked
		} else {
			user = masked
		}
		rest = user + rest[at:]
	}
	if head, query, found := strings.Cut(rest, "?"); found {
		pairs := strings.Split(query, "&")
		for i, pair := range pairs {
			name, _, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(name); err != nil || secretName(plain) {
				pairs[i] = name + "=" + masked
			}
		}
		rest = head + "?" + strings.Join(pairs, "&")
	}
	return scheme + "://" + rest
}

// secretName reports whether a parameter or header of this name is likely to hold a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "secret", "token", "auth", "key", "cookie", "credential"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

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
		mask := s.secrets[n]
		if _, used := s.used[n]; ignored && !used && n.Kind == yaml.ScalarNode {
			mask = maskSecret // no type says what it is for
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
	return MaskURL(s)
}
