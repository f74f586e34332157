package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sort"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Identity is what makes a data directory one particular member of one particular
// cluster. It is written before the peer port opens and at every start (Boot).
type Identity struct {
	Node raftcore.NodeID
	// Incarnation is drawn when the directory is first used. A wiped directory
	// comes back as a stranger, which neither votes nor campaigns (R26).
	Incarnation uint64
	// Boot counts starts. Peers refuse an older boot than they have seen: a
	// directory restored from a copy cannot speak for the one that went on.
	Boot uint64
	// Genesis is nil until the cluster was formed or joined.
	Genesis *Genesis
	// Lives are random numbers, one a boot, that of this one last: by them peers tell
	// this directory from an older copy of it (docs/adr/0015). The last maxLives only.
	Lives []uint64
}

// Genesis is the cluster's first moment: equal on every member for ever. The
// cluster's id and the keyspace's hash seed are derived from it.
type Genesis struct {
	Members []raftcore.Member
	Lease   raftcore.LeasePolicy
}

// Errors about the data directory itself. Nothing in it was changed.
var (
	// ErrForeign: it belongs to another node or cluster, or is not rkv's at all.
	ErrForeign = errors.New("foreign data directory")
	// ErrSuperseded: peers know a later life of it than it does itself: it is an older
	// copy, or has been copied. It may have forgotten votes and entries.
	ErrSuperseded = errors.New("superseded data directory")
	// ErrDataDir: it cannot be created, read or locked.
	ErrDataDir = errors.New("unusable data directory")
	// ErrDamaged: part of it is lost or damaged beyond what peers can repair.
	ErrDamaged = errors.New("damaged data directory")
)

// ClusterID names the cluster in handshakes and logs.
func (g *Genesis) ClusterID() (id [16]byte) {
	sum := g.digest("cluster id")
	copy(id[:], sum[:])
	return id
}

// HashSeed is the cluster-wide secret seed of the keyspace's hash. It depends on
// incarnations, which are random and shown to nobody but members.
func (g *Genesis) HashSeed() uint64 {
	sum := g.digest("hash seed")
	return binary.LittleEndian.Uint64(sum[:])
}

// Membership is the configuration at index 0.
func (g *Genesis) Membership() raftcore.Membership {
	return raftcore.Membership{Members: append([]raftcore.Member(nil), g.Members...), Lease: g.Lease}
}

func (g *Genesis) digest(purpose string) [32]byte {
	h := sha256.New()
	h.Write([]byte(purpose))
	members := append([]raftcore.Member(nil), g.Members...)
	sort.Slice(members, func(i, j int) bool { return members[i].ID < members[j].ID })
	for _, m := range members {
		fmt.Fprintf(h, "|%d %d %s", m.ID, m.Incarnation, m.PeerAddr)
	}
	return [32]byte(h.Sum(nil))
}

// member finds a member by id and incarnation.
func (g *Genesis) member(id raftcore.NodeID, incarnation uint64) *raftcore.Member {
	for i := range g.Members {
		if m := &g.Members[i]; m.ID == id && m.Incarnation == incarnation {
			return m
		}
	}
	return nil
}

// The identity file: magic, CRC-32C of the rest, msgpack of Identity.
const (
	identityName  = "identity"
	identityMagic = "rkvI1\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// msgpackHandle is shared: it learns each type's layout once, and is safe for concurrent
// use since nobody configures it any more.
var msgpackHandle = newMsgpackHandle()

func newMsgpackHandle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{}
	h.StructToArray = true
	h.WriteExt = true
	h.MaxInitLen = 1 << 10
	return h
}

// loadIdentity reads the identity of a data directory and counts the boot. A new
// directory gets a fresh incarnation for the wanted id. The result is durable.
func loadIdentity(fs vfs.FS, dir string, want raftcore.NodeID, random func() uint64) (*Identity, error) {
	name := filepath.Join(dir, identityName)
	exists, err := fs.Exists(name)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrDataDir, dir, err)
	}
	id := &Identity{Node: want}
	if exists {
		if id, err = readIdentity(fs, name); err != nil {
			return nil, err
		}
	} else {
		if err := refuseUnknownContent(fs, dir); err != nil {
			return nil, err
		}
		id.Incarnation = random()
	}
	if want != 0 && id.Node != want {
		return nil, fmt.Errorf("%w: %s belongs to node %d, not %d; give --id %d or another --data-dir",
			ErrForeign, dir, id.Node, want, id.Node)
	}
	if id.Node == 0 {
		id.Node = 1
	}
	id.Boot++
	id.Lives = append(id.Lives, random())
	id.Lives = id.Lives[max(0, len(id.Lives)-maxLives):]
	return id, writeIdentity(fs, dir, id)
}

// checkContent refuses a directory that is not ours before anything is put into it.
func checkContent(fs vfs.FS, dir string) error {
	ours, err := fs.Exists(filepath.Join(dir, identityName))
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, dir, err)
	}
	if ours {
		return nil
	}
	return refuseUnknownContent(fs, dir)
}

// refuseUnknownContent keeps rkv from settling in a directory that holds somebody
// else's files, or a log that lost its identity file.
func refuseUnknownContent(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, dir, err)
	}
	for _, n := range names {
		if n != lockName && n != "lost+found" && n != identityName+".tmp" {
			return fmt.Errorf("%w: %s holds %q but no rkv identity file; give an empty --data-dir", ErrForeign, dir, n)
		}
	}
	return nil
}

func readIdentity(fs vfs.FS, name string) (*Identity, error) {
	raw, err := readFile(fs, name)
	if err != nil {
		return nil, err
	}
	head := len(identityMagic) + 4
	if len(raw) < head || string(raw[:len(identityMagic)]) != identityMagic {
		return nil, fmt.Errorf("%w: %s is not an rkv identity file", ErrForeign, name)
	}
	body := raw[head:]
	want := binary.LittleEndian.Uint32(raw[len(identityMagic):])
	if got := crc32.Checksum(body, castagnoli); got != want {
		return nil, fmt.Errorf("%w: %s: offset %d: checksum is %08x, expected %08x; restore the file or re-join with an empty directory",
			ErrDamaged, name, head, got, want)
	}
	id := &Identity{}
	if err := codec.NewDecoderBytes(body, msgpackHandle).Decode(id); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return id, nil
}

// writeIdentity replaces the file by write, sync, rename, directory sync: a power
// cut leaves the old or the new one.
func writeIdentity(fs vfs.FS, dir string, id *Identity) error {
	var body []byte
	if err := codec.NewEncoderBytes(&body, msgpackHandle).Encode(id); err != nil {
		return err
	}
	raw := append([]byte(identityMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(raw[len(identityMagic):], crc32.Checksum(body, castagnoli))
	raw = append(raw, body...)
	if err := replaceFile(fs, dir, identityName, raw); err != nil {
		return fmt.Errorf("writing the identity file: %w", err)
	}
	return nil
}

func replaceFile(fs vfs.FS, dir, name string, raw []byte) error {
	tmp := filepath.Join(dir, name+".tmp")
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(raw, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, filepath.Join(dir, name))
	}
	if err == nil {
		err = fs.SyncDir(dir)
	}
	return err
}

func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	const limit = 1 << 20
	if size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, an identity file at most %d", ErrForeign, name, size, limit)
	}
	raw := make([]byte, size)
	_, err = f.ReadAt(raw, 0)
	if err != nil && size > 0 {
		return nil, err
	}
	return raw, nil
}

func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.LittleEndian.Uint64(b[:])>>1 | 1
}
