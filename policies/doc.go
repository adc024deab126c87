// Package policies reads Headgate's policy file and says which route a request takes.
//
// A file passes through it in this order:
//
//	Load      reads the file and those it includes
//	decode    YAML nodes -> Policy: ${VAR} expanded, types checked, every value's position kept
//	inherit   routes get what defaults and their groups say
//	defaults  what nobody wrote gets its default
//	validate  names resolve, numbers make sense, nothing can never happen
//	          -> *Policy, and Diagnostics: every mistake of the file in one run
//
// A request passes through it in this order:
//
//	NormalizeHost, NormalizePath   one canonical form, which is what is routed and what is forwarded
//	Matcher.Match                  the most specific route that fits, or 404, or 405 with what is allowed
//
// Besides, Diff says what changes in meaning between two policies, Matcher.Explain why a route was or was not
// taken, Policy.Masked shows a policy without its secrets, and Schema tells editors what a policy may hold.
//
// The package serves no HTTP and knows no Redis: serve, check, explain, test and replay share it.
//
// What it promises: no input makes it panic, or use memory out of proportion to its
// size; each mistake has a position and says how to mend it; the same file gives the
// same diagnostics in the same order; a loaded Policy has no key left to interpret. Secrets are masked
// wherever a Policy is shown.
package policies
