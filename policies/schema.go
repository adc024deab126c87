package policies

import _ "embed"

// The schema and REFERENCE.md are made from the types, their doc comments and their defaults, and a test holds them to it.
//
//go:generate go test -run ^TestSchemaAndReferenceAreMadeFromTheTypes$ -update .

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of the policy file, for editors: they complete keys and show what they mean
// in files that begin with `# yaml-language-server: $schema=schema.json`.
func Schema() []byte { return append([]byte(nil), schema...) }
