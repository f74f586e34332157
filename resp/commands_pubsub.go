package resp

func pubsubHandlers() map[string]handler {
	list := make(map[string]handler)
	for _, name := range []string{
		"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe",
		"pubsub|channels", "pubsub|numpat", "pubsub|numsub", "pubsub|shardchannels", "pubsub|shardnumsub",
	} {
		list[name] = refused("ERR subscriptions are not supported yet")
	}
	list["pubsub|help"] = help("pubsub")
	list["client|caching"] = refused("ERR client-side caching (CLIENT TRACKING) is not supported yet")
	return list
}
