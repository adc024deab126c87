package policies

// source is what a policy was read from.
type source struct{}
