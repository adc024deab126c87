package proxy

// Upgrades keeps the connections that were upgraded.
type Upgrades struct{}
