package cache

// For tests of the account of bytes in Redis.
var (
	IndexCost = indexCost
	BodyCost  = bodyCost
)
