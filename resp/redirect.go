package resp

import (
	"strconv"

	"github.com/rkvdb/rkv/kv"
)

// redirects reports whether the session may have to send its client to the leader.
func (s *session) redirects() bool {
	return s.persona == clusterPersona && !s.srv.opt.ClusterProxy || s.capaRedirect
}

// redirect is the error that sends the client to the leader, which saves the way from
// node to node; "" if the command is to be executed here. A client that wrote READONLY
// reads where it is. Without a leader, or where its address is not known, requests are
// executed here as on every node: they wait and go where they have to.
func (s *session) redirect(cmd *kv.Command, h *handler, args [][]byte) string {
	if h != nil && cmd.Name != "watch" || s.stale && !cmd.Logged() && !cmd.IsWrite() {
		return ""
	}
	keys, ok := cmd.KeyPositions(args)
	if !ok || len(keys) == 0 || keys[0] >= len(args) {
		return ""
	}
	st := s.srv.recentStatus(s.now)
	leader := st.leader()
	if leader == nil || leader.Self {
		return ""
	}
	addr := s.persona.addr(leader)
	switch {
	case addr == "":
		return ""
	case s.persona == clusterPersona:
		return "MOVED " + strconv.Itoa(keySlot(args[keys[0]])) + " " + addr
	}
	return "REDIRECT " + addr
}

// recentStatus is the node's status at most a few milliseconds old: every command of a
// client that may be redirected looks at it.
func (s *Server) recentStatus(now int64) *Status {
	const fresh = 5
	if r := s.recent.Load(); r != nil && now-r.at >= 0 && now-r.at < fresh {
		return &r.Status
	}
	r := &recentStatus{s.backend.Status(), now}
	s.recent.Store(r)
	return &r.Status
}

type recentStatus struct {
	Status
	at int64
}

// slots is how many slots keys of a Redis Cluster fall into; here they are all in the
// one shard.
const slots = 16384

// keySlot is a key's slot: of the part in the first braces, if there is something in
// them.
func keySlot(key []byte) int {
	for i, c := range key {
		if c != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j > i+1 {
					key = key[i+1 : j]
				}
				break
			}
		}
		break
	}
	crc := uint16(0)
	for _, c := range key {
		crc = crc<<8 ^ crc16[byte(crc>>8)^c]
	}
	return int(crc) % slots
}

// crc16 is the table of CRC-16/XMODEM, polynomial 0x1021.
var crc16 = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()
