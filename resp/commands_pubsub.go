package resp

import (
	"context"
	"slices"

	"github.com/rkvdb/rkv/kv"
)

func pubsubHandlers() map[string]handler {
	return map[string]handler{
		"publish":  {run: func(s *session, args [][]byte, _ *kv.Reply) { s.publishMessage(false, args) }, batched: true},
		"spublish": {run: func(s *session, args [][]byte, _ *kv.Reply) { s.publishMessage(true, args) }, batched: true},

		"subscribe":    {run: subscribe(kv.SubscribeChannel, "subscribe"), subscriber: true},
		"psubscribe":   {run: subscribe(kv.SubscribePattern, "psubscribe"), subscriber: true},
		"ssubscribe":   {run: subscribe(kv.SubscribeShard, "ssubscribe"), subscriber: true},
		"unsubscribe":  {run: unsubscribe(kv.SubscribeChannel, "unsubscribe"), subscriber: true},
		"punsubscribe": {run: unsubscribe(kv.SubscribePattern, "punsubscribe"), subscriber: true},
		"sunsubscribe": {run: unsubscribe(kv.SubscribeShard, "sunsubscribe"), subscriber: true},

		"pubsub|channels":      {run: listChannels(kv.SubscribeChannel, "channels")},
		"pubsub|shardchannels": {run: listChannels(kv.SubscribeShard, "shardchannels")},
		"pubsub|numsub":        {run: countChannels(kv.SubscribeChannel)},
		"pubsub|shardnumsub":   {run: countChannels(kv.SubscribeShard)},
		"pubsub|numpat": {run: func(s *session, _ [][]byte, out *kv.Reply) {
			out.Int(int64(s.srv.backend.SubscriptionCount(kv.SubscribePattern)))
		}},
		"pubsub|help": help("pubsub"),
	}
}

// Bounds of the PUBLISH commands of a pipeline that go to the node together.
const (
	maxPublishBatch = 512
	maxPublishBytes = 256 << 10
)

// publishMessage is PUBLISH and SPUBLISH channel message. Those that follow each other
// in a pipeline are one batch: each alone would be a round trip to the leader.
func (s *session) publishMessage(shard bool, args [][]byte) {
	args = copyArgs(args[1:])
	s.publishing = append(s.publishing, kv.Publication{Shard: shard, Channel: args[0], Message: args[1]})
	s.publishBytes += len(args[0]) + len(args[1])
}

// publishFull reports that the batch has to go now. A reply that is not wanted is that
// of its own command only.
func (s *session) publishFull() bool {
	n := len(s.publishing)
	return n > 0 && (n >= maxPublishBatch || s.publishBytes >= maxPublishBytes || s.muted())
}

// flushPublishing hands the batch to the node.
func (s *session) flushPublishing() step {
	ps := s.publishing
	s.publishing, s.publishBytes = nil, 0
	s.async = func(_ context.Context, done func(func(*kv.Reply))) {
		s.srv.backend.Publish(ps, func(receivers []int, err error) {
			done(func(out *kv.Reply) {
				for i := range ps {
					if err != nil {
						out.Error(err.Error())
					} else {
						out.Int(int64(receivers[i]))
					}
				}
			})
		})
	}
	return stepAsync
}

// publishMisses tells of keys that reads did not find: that happens on one node, and
// clients of any node may listen.
func (s *Server) publishMisses(misses []kv.Miss) {
	var ps []kv.Publication
	for i := range misses {
		m := &misses[i]
		ps = append(ps, keyspacePublications(nil, m.DB, m.Notify, "keymiss", m.Key)...)
	}
	s.backend.Publish(ps, func([]int, error) {})
}

// subscribe is SUBSCRIBE, PSUBSCRIBE and SSUBSCRIBE name [name ...]. It is confirmed
// once the leader counts it (docs/adr/0011).
func subscribe(kind kv.SubscriptionKind, word string) func(s *session, args [][]byte, out *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		names := make([]string, 0, len(args)-1)
		for _, a := range args[1:] {
			names = append(names, string(a))
		}
		confirm := func(out *kv.Reply) {
			for _, name := range names {
				s.join(kind, name)
				s.confirm(out, kind, word, name)
			}
			s.confirmed(out)
		}
		fresh := s.fresh(kind, names)
		switch {
		case s.inExec && kind == kv.SubscribeShard:
			out.Error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
		case len(fresh) == 0:
			confirm(out)
		case s.inExec: // nothing may wait there
			s.subscriptionsChanged(kind, fresh, 1, nil)
			confirm(out)
		default:
			s.joining = &joining{kind, fresh}
			s.async = func(_ context.Context, done func(func(*kv.Reply))) {
				s.subscriptionsChanged(kind, fresh, 1, func() {
					done(func(out *kv.Reply) {
						s.joining = nil
						confirm(out)
					})
				})
			}
		}
	}
}

// unsubscribe is UNSUBSCRIBE, PUNSUBSCRIBE and SUNSUBSCRIBE [name ...].
func unsubscribe(kind kv.SubscriptionKind, word string) func(s *session, args [][]byte, out *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		var names []string
		for _, a := range args[1:] {
			names = append(names, string(a))
		}
		if len(args) == 1 {
			names = s.listensTo(kind)
		}
		for _, name := range names {
			s.leave(kind, []string{name})
			s.confirm(out, kind, word, name)
		}
		if len(names) == 0 {
			out.Push(3)
			out.BulkString(word)
			out.Null()
			out.Int(s.listensCount(kind))
		}
		s.confirmed(out)
	}
}

// confirm appends one confirmation; the number is that of channels and patterns
// together, or of shard channels.
func (s *session) confirm(out *kv.Reply, kind kv.SubscriptionKind, word, name string) {
	out.Push(3)
	out.BulkString(word)
	out.BulkString(name)
	out.Int(s.listensCount(kind))
}

func (s *session) listensCount(kind kv.SubscriptionKind) int64 {
	if kind == kv.SubscribeShard {
		return int64(len(s.subs[kind]))
	}
	return int64(len(s.subs[kv.SubscribeChannel]) + len(s.subs[kv.SubscribePattern]))
}

// confirmed sends confirmations past CLIENT REPLY OFF: they are pushes.
func (s *session) confirmed(out *kv.Reply) {
	if s.muted() && !s.inExec {
		s.out = renderer{proto: s.proto}.appendTape(s.out, out)
		out.Reset()
	}
}

// mayWhileSubscribed reports whether a RESP2 client that listens may execute the
// command: its replies could not be told from messages.
func (s *session) mayWhileSubscribed(h *handler) bool {
	return s.proto != resp2 || h != nil && h.subscriber || !s.subscribed()
}

func (s *session) refuseWhileSubscribed(cmd *kv.Command) {
	const only = "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
	if cmd.Name == "exec" {
		s.multi, s.watches = nil, nil
		s.replyError("EXECABORT Transaction discarded because of: Can't execute 'exec" + only)
		return
	}
	s.replyError("ERR Can't execute '" + cmd.Name + only)
}

// listChannels is PUBSUB CHANNELS and SHARDCHANNELS [pattern], of the whole cluster.
func listChannels(kind kv.SubscriptionKind, word string) func(s *session, args [][]byte, out *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		if len(args) > 3 {
			out.Error("ERR unknown subcommand or wrong number of arguments for '" + word + "'. Try PUBSUB HELP.")
			return
		}
		names := s.srv.backend.Subscriptions(kind)
		if len(args) == 3 {
			names = slices.DeleteFunc(names, func(name string) bool { return !kv.MatchGlob(args[2], []byte(name), false) })
		}
		slices.Sort(names)
		out.Array(len(names))
		for _, name := range names {
			out.BulkString(name)
		}
	}
}

// countChannels is PUBSUB NUMSUB and SHARDNUMSUB [channel ...], of the whole cluster.
func countChannels(kind kv.SubscriptionKind) func(s *session, args [][]byte, out *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		out.Array(2 * (len(args) - 2))
		for _, name := range args[2:] {
			out.Bulk(name)
			out.Int(int64(s.srv.backend.Subscribers(kind, string(name))))
		}
	}
}
