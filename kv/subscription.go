package kv

// SubscriptionKind is what clients listen to.
type SubscriptionKind uint8

const (
	SubscribeChannel SubscriptionKind = iota
	SubscribePattern
	SubscribeShard
	// SubscriptionKinds is their number.
	SubscriptionKinds
)

// Subscription says how many clients of one node listen to a name.
type Subscription struct {
	Kind  SubscriptionKind
	Name  string
	Count int
}
