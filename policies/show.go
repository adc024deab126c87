package policies

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/headgate/headgate/internal/yamlnode"
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
			out.WriteString("# " + quote(f.Name) + "\n")
		}
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		// Nodes that were decoded encode again, and a buffer takes every write.
		_ = encoder.Encode(p.source.Masked(f.Root))
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
		binary.BigEndian.PutUint64(length[:], uint64(len(f.Data)))
		h.Write(length[:])
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Files lists every file that the policy was read from, secrets included: what to watch for changes.
func (p *Policy) Files() []string {
	var names []string
	for _, f := range p.files() {
		names = append(names, f.Name)
	}
	if p.source != nil {
		names = append(names, p.reads...)
	}
	return names
}

func (p *Policy) files() []yamlnode.File {
	if p.source == nil {
		return nil
	}
	return p.source.Files
}

// Position says where the value at a path like `routes[3]` or `limits.per-ip.window` stands, or
// what is nearest around it.
func (p *Policy) Position(path string) Position {
	if p.source == nil {
		return Position{}
	}
	return p.source.At(path)
}
