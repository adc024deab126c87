package policies

import "github.com/headgate/headgate/internal/yamlnode"

// What Load says of a policy file, and where.
type (
	// Severity says whether a diagnostic stops the policy from being used.
	Severity = yamlnode.Severity
	// Position is a place in a policy file. Line and Column count from 1; the column counts characters.
	Position = yamlnode.Position
	// Diagnostic is one mistake in a policy file.
	Diagnostic = yamlnode.Diagnostic
	// Diagnostics are the mistakes of a policy, in the order of its files and lines.
	Diagnostics = yamlnode.Diagnostics
)

// The severities.
const (
	Error   = yamlnode.Error   // the policy can't be used
	Warning = yamlnode.Warning // legal, but surely not what was wanted
)
