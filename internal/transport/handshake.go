package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/rkvdb/rkv/raftcore"
)

// Every connection begins with four fixed-size records in lockstep, little
// endian. Neither side allocates for, or believes, anything before the proof.
//
//	hello, dialer to acceptor, 128 bytes
//	   0 magic "rkvP" | 4 version u16 | 6 lane u8 | 7 zero u8
//	   8 nonce [32]
//	  40 identity of the dialer [56]
//	  96 expected node u64, expected incarnation u64 (0: any)
//	 112 incarnation u64 and boot u64 of the acceptor as last met (0: never)
//	challenge, acceptor to dialer, 48 bytes
//	   0 magic | 4 version u16 | 6 reason u8 | 7 zero u8
//	   8 nonce [32]
//	  40 boot of the dialer as last met u64
//	proof, dialer to acceptor, 40 bytes
//	   0 life of the dialer at that boot u64
//	   8 HMAC-SHA256(secret, dialerLabel, hello, challenge, proof[0:8])
//	verdict, acceptor to dialer, 104 bytes
//	   0 reason u8 | 1 zero [7]
//	   8 identity of the acceptor [56]
//	  64 life of the acceptor at the boot of hello u64
//	  72 HMAC-SHA256(secret, acceptorLabel, hello, challenge, proof, verdict[0:72])
//
//	identity: cluster id [16], node u64, incarnation u64, boot u64, holder [16]
//
// The boots and lives tell a directory from an older copy of it (Acquaintance).
//
// The labels keep a proof from being reflected to its maker; the dialer proves
// first, so that a stranger learns nothing from the acceptor. The holder is a
// random number of the running process, its first half the process's life: two
// processes with one identity differ in it. A reason other than zero ends the handshake; only that of a wrong
// secret, which cannot be proved, comes without a valid HMAC.
const (
	magic           = "rkvP"
	protocolVersion = 2

	nonceSize     = 32
	lifeSize      = 8
	macSize       = sha256.Size
	identitySize  = 56
	helloSize     = 128
	challengeSize = 48
	proofSize     = lifeSize + macSize
	verdictSize   = 104
	verdictSigned = 72

	dialerLabel   = "rkv peer protocol 2, dialer\x00"
	acceptorLabel = "rkv peer protocol 2, acceptor\x00"
)

// laneKind is what a connection is for. The values are part of the protocol.
type laneKind uint8

const (
	laneControl laneKind = 1 + iota
	laneBulk
	laneSnapshot
	laneCall
	laneEnd
)

var laneNames = [laneEnd]string{laneControl: "control", laneBulk: "bulk", laneSnapshot: "snapshot", laneCall: "call"}

// String is the lane in a log line.
func (l laneKind) String() string {
	if l > 0 && l < laneEnd {
		return laneNames[l]
	}
	return fmt.Sprintf("lane %d", uint8(l))
}

// errGarbage means that the other side does not speak our protocol at all.
var errGarbage = errors.New("not an rkv peer")

// party is an identity as it travels: with the running process's number.
type party struct {
	Identity
	Holder [16]byte
}

func (p *party) append(b []byte) []byte {
	b = append(b, p.ClusterID[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Node))
	b = binary.LittleEndian.AppendUint64(b, p.Incarnation)
	b = binary.LittleEndian.AppendUint64(b, p.Boot)
	return append(b, p.Holder[:]...)
}

// life is the number of the process in the past of its directory.
func (p *party) life() uint64 { return binary.LittleEndian.Uint64(p.Holder[:]) }

// parseParty reads the identitySize bytes of b.
func parseParty(b []byte) (p party) {
	copy(p.ClusterID[:], b)
	p.Node = raftcore.NodeID(binary.LittleEndian.Uint64(b[16:]))
	p.Incarnation = binary.LittleEndian.Uint64(b[24:])
	p.Boot = binary.LittleEndian.Uint64(b[32:])
	copy(p.Holder[:], b[40:])
	return p
}

// hello is the dialer's first record.
type hello struct {
	lane   laneKind
	from   party
	expect raftID
	met    raftID // the acceptor as last met: with this incarnation,
	boot   uint64 // and this boot

	// What the acceptor asked the dialer about, and its answer.
	asked, then uint64
}

// raftID is a raft identity: a voter is (id, incarnation) (R26).
type raftID struct {
	node        raftcore.NodeID
	incarnation uint64
}

// fits reports whether p is who e names; zero fields of e name anybody.
func (e raftID) fits(p *party) bool {
	return (e.node == 0 || e.node == p.Node) && (e.incarnation == 0 || e.incarnation == p.Incarnation)
}

func appendHello(b []byte, h *hello, nonce []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, protocolVersion)
	b = append(b, byte(h.lane), 0)
	b = append(b, nonce...)
	b = h.from.append(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.expect.node))
	b = binary.LittleEndian.AppendUint64(b, h.expect.incarnation)
	b = binary.LittleEndian.AppendUint64(b, h.met.incarnation)
	return binary.LittleEndian.AppendUint64(b, h.boot)
}

// parseHello reads the helloSize bytes of b.
func parseHello(b []byte) (h hello, reason Reason, err error) {
	if string(b[:4]) != magic {
		return h, 0, errGarbage
	}
	if binary.LittleEndian.Uint16(b[4:]) != protocolVersion {
		return h, ReasonVersion, nil
	}
	h.lane = laneKind(b[6])
	h.from = parseParty(b[40:])
	h.expect.node = raftcore.NodeID(binary.LittleEndian.Uint64(b[96:]))
	h.expect.incarnation = binary.LittleEndian.Uint64(b[104:])
	h.met = raftID{h.expect.node, binary.LittleEndian.Uint64(b[112:])}
	h.boot = binary.LittleEndian.Uint64(b[120:])
	if h.lane == 0 || h.lane >= laneEnd || b[7] != 0 {
		return h, ReasonLane, nil
	}
	return h, ReasonNone, nil
}

func appendChallenge(b []byte, reason Reason, nonce []byte, boot uint64) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, protocolVersion)
	b = append(b, byte(reason), 0)
	b = append(b, nonce...)
	return binary.LittleEndian.AppendUint64(b, boot)
}

func sign(secret []byte, label string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(label))
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

func newNonce() []byte {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails (crypto/rand)
	return nonce
}

// dialHandshake is the dialer's side. It returns who answered, and its life at the
// boot that h asks about; a *RefusedError (without address) if either side refuses.
func dialHandshake(rw io.ReadWriter, mine *past, h *hello) (peer party, then uint64, err error) {
	first := appendHello(nil, h, newNonce())
	if _, err := rw.Write(first); err != nil {
		return party{}, 0, fmt.Errorf("sending hello: %w", err)
	}
	challenge := make([]byte, challengeSize)
	if _, err := io.ReadFull(rw, challenge); err != nil {
		return party{}, 0, fmt.Errorf("waiting for the challenge: %w", err)
	}
	if string(challenge[:4]) != magic {
		return party{}, 0, errGarbage
	}
	if r := Reason(challenge[6]); r != ReasonNone {
		return party{}, 0, &RefusedError{Reason: r}
	}
	life := binary.LittleEndian.AppendUint64(nil, mine.lifeOf(binary.LittleEndian.Uint64(challenge[40:])))
	proof := append(life, sign(mine.secret, dialerLabel, first, challenge, life)...)
	if _, err := rw.Write(proof); err != nil {
		return party{}, 0, fmt.Errorf("sending the proof: %w", err)
	}
	verdict := make([]byte, verdictSize)
	if _, err := io.ReadFull(rw, verdict); err != nil {
		return party{}, 0, fmt.Errorf("waiting for the verdict: %w", err)
	}
	peer, err = judgeVerdict(mine.secret, h, first, challenge, proof, verdict)
	return peer, binary.LittleEndian.Uint64(verdict[64:]), err
}

// judgeVerdict checks the acceptor's proof and that it is who was meant.
func judgeVerdict(secret []byte, h *hello, first, challenge, proof, verdict []byte) (party, error) {
	want := sign(secret, acceptorLabel, first, challenge, proof, verdict[:verdictSigned])
	if !hmac.Equal(want, verdict[verdictSigned:]) {
		return party{}, &RefusedError{Reason: ReasonSecret}
	}
	if r := Reason(verdict[0]); r != ReasonNone {
		return party{}, &RefusedError{Reason: r}
	}
	peer := parseParty(verdict[8:])
	if h.lane == laneCall {
		return peer, nil
	}
	switch {
	case !h.expect.fits(&peer):
		return peer, &RefusedError{Reason: ReasonReceiver}
	case differ(h.from.ClusterID, peer.ClusterID):
		return peer, &RefusedError{Reason: ReasonCluster}
	}
	return peer, nil
}

// acceptHandshake is the acceptor's side. Once the dialer has proved the secret,
// admit judges its hello; after ReasonNone the connection is on. The error is
// nil exactly then, a *RefusedError if a refusal was sent, errGarbage or an I/O
// error otherwise.
func acceptHandshake(rw io.ReadWriter, mine *past, me *party, admit func(*hello) Reason) (hello, error) {
	first := make([]byte, helloSize)
	// The magic is judged first: a stranger's short request is not waited on.
	if _, err := io.ReadFull(rw, first[:4]); err != nil {
		return hello{}, fmt.Errorf("%w: %w", errGarbage, err)
	}
	if string(first[:4]) != magic {
		return hello{}, errGarbage
	}
	if _, err := io.ReadFull(rw, first[4:]); err != nil {
		return hello{}, fmt.Errorf("%w: %w", errGarbage, err)
	}
	h, reason, err := parseHello(first)
	if err != nil {
		return hello{}, err
	}
	_, h.asked = mine.known.Newest(h.from.Node, h.from.Incarnation)
	challenge := appendChallenge(nil, reason, newNonce(), h.asked)
	if _, err := rw.Write(challenge); err != nil {
		return h, fmt.Errorf("sending the challenge: %w", err)
	}
	if reason != ReasonNone {
		return h, &RefusedError{Reason: reason}
	}
	proof := make([]byte, proofSize)
	if _, err := io.ReadFull(rw, proof); err != nil {
		return h, fmt.Errorf("waiting for the proof: %w", err)
	}
	verdict := make([]byte, verdictSize)
	if !hmac.Equal(proof[lifeSize:], sign(mine.secret, dialerLabel, first, challenge, proof[:lifeSize])) {
		verdict[0] = byte(ReasonSecret)
		rw.Write(verdict) // best effort: we hang up either way
		return h, &RefusedError{Reason: ReasonSecret}
	}
	h.then = binary.LittleEndian.Uint64(proof)
	reason = admit(&h)
	verdict[0] = byte(reason)
	me.append(verdict[:8])
	if h.met.incarnation == me.Incarnation {
		binary.LittleEndian.PutUint64(verdict[64:], mine.lifeOf(h.boot))
	}
	copy(verdict[verdictSigned:], sign(mine.secret, acceptorLabel, first, challenge, proof, verdict[:verdictSigned]))
	_, err = rw.Write(verdict)
	switch {
	case reason != ReasonNone:
		return h, &RefusedError{Reason: reason}
	case err != nil:
		return h, fmt.Errorf("sending the verdict: %w", err)
	}
	return h, nil
}

// differ reports whether two cluster ids are both known and not the same.
func differ(a, b [16]byte) bool {
	var unknown [16]byte
	return a != unknown && b != unknown && a != b
}
