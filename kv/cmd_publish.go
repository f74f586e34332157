package kv

// pubsubCommands: a PUBLISH outside a transaction or script is not logged, package
// resp hands it to the node (docs/adr/0011). Inside one it is the logged command of
// this file. Subscriptions are the connection's.
var pubsubCommands = []Command{
	{Name: "publish", Group: "pubsub", Since: "2.0.0", Arity: 3, Flags: FlagPubsub | FlagLoading | FlagStale | FlagFast | FlagMayReplicate,
		Op: 656, Run: func(c *Ctx) { c.publish(false) },
		Summary: "Posts a message to a channel, for subscribers of all nodes."},
	{Name: "spublish", Group: "pubsub", Since: "7.0.0", Arity: 3, Flags: FlagPubsub | FlagLoading | FlagStale | FlagFast | FlagMayReplicate,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 657, Run: func(c *Ctx) { c.publish(true) },
		Summary: "Posts a message to a shard channel, for subscribers of all nodes."},
	{Name: "subscribe", Group: "pubsub", Since: "2.0.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagDenyOOM | FlagNoScript | FlagLoading | FlagStale,
		Summary: "Begins to listen to channels."},
	{Name: "unsubscribe", Group: "pubsub", Since: "2.0.0", Arity: -1, Flags: FlagLocal | FlagPubsub | FlagNoScript | FlagLoading | FlagStale,
		Summary: "Stops listening to channels."},
	{Name: "psubscribe", Group: "pubsub", Since: "2.0.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagDenyOOM | FlagNoScript | FlagLoading | FlagStale,
		Summary: "Listens for messages published to channels that match patterns."},
	{Name: "punsubscribe", Group: "pubsub", Since: "2.0.0", Arity: -1, Flags: FlagLocal | FlagPubsub | FlagNoScript | FlagLoading | FlagStale,
		Summary: "Stops listening to channels that match patterns."},
	{Name: "ssubscribe", Group: "pubsub", Since: "7.0.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagDenyOOM | FlagNoScript | FlagLoading | FlagStale,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Summary: "Begins to listen to shard channels."},
	{Name: "sunsubscribe", Group: "pubsub", Since: "7.0.0", Arity: -1, Flags: FlagLocal | FlagPubsub | FlagNoScript | FlagLoading | FlagStale,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Summary: "Stops listening to shard channels."},
	{Name: "pubsub", Group: "pubsub", Since: "2.8.0", Arity: -2, Flags: FlagLocal,
		Summary: "A container for commands about subscriptions.", Sub: []*Command{
			{Name: "pubsub|channels", Group: "pubsub", Since: "2.8.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagLoading | FlagStale,
				Summary: "Returns the channels that clients of any node listen to."},
			{Name: "pubsub|help", Group: "pubsub", Since: "6.2.0", Arity: 2, Flags: FlagLocal | FlagLoading | FlagStale,
				Summary: "Returns a help text about the subcommands."},
			{Name: "pubsub|numpat", Group: "pubsub", Since: "2.8.0", Arity: 2, Flags: FlagLocal | FlagPubsub | FlagLoading | FlagStale,
				Summary: "Returns the number of patterns that clients of any node listen to."},
			{Name: "pubsub|numsub", Group: "pubsub", Since: "2.8.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagLoading | FlagStale,
				Summary: "Returns the number of subscribers of channels, on all nodes."},
			{Name: "pubsub|shardchannels", Group: "pubsub", Since: "7.0.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagLoading | FlagStale,
				Summary: "Returns the shard channels that clients of any node listen to."},
			{Name: "pubsub|shardnumsub", Group: "pubsub", Since: "7.0.0", Arity: -2, Flags: FlagLocal | FlagPubsub | FlagLoading | FlagStale,
				Summary: "Returns the number of subscribers of shard channels, on all nodes."},
		}},
}

// publish is PUBLISH and SPUBLISH channel message of a transaction or script. A script
// is answered 0: the number of subscribers differs between the nodes that run it. A
// transaction is told what its origin knows.
func (c *Ctx) publish(shard bool) {
	p := Publication{Shard: shard, Channel: c.Args[1], Message: c.Args[2]}
	if fx := &c.store.fx; fx.want&p.kind() != 0 {
		fx.add(Effect{Kind: p.kind(), DB: AllDatabases, Key: p.Channel, Value: p.Message})
	}
	n := 0
	if count := c.store.receivers.Load(); count != nil && !c.script && c.Out != &c.store.discard {
		n = (*count)(shard, p.Channel)
	}
	c.Out.Int(int64(n))
}

// CountReceivers sets what tells how many clients of the cluster listen to a channel.
// It is called under the store's lock: it must be quick and must not call the store.
func (s *Store) CountReceivers(count func(shard bool, channel []byte) int) { s.receivers.Store(&count) }
