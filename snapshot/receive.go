package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// A snapshot is streamed with its footer first: with the frame table at hand the
// receiver checks each frame as it comes, and what it has checked stays when the
// stream breaks. The next stream of the same file continues behind the last sound
// frame; the same file is one with the same hash, whoever sends it.

// Offer announces a snapshot that is to be streamed.
type Offer struct {
	Meta raftcore.SnapshotMeta
	Size int64    // of the file, and of the whole stream
	Hash [32]byte // Info.Hash
}

// Stream is an offered snapshot on its way in: the bytes of Reader.StreamFrom.
type Stream interface {
	io.Reader
	// From says at which byte of the stream to begin. It is called once, before the
	// first Read.
	From(offset int64) error
}

// Offer describes the snapshot to whoever may receive it.
func (r *Reader) Offer() Offer {
	return Offer{Meta: r.Meta(), Size: r.file.size, Hash: r.file.foot.hash}
}

// StreamFrom reads the stream from a byte on, while the Reader is open. The bytes are
// not checked again: Receive does so at the other end.
func (r *Reader) StreamFrom(offset int64) io.Reader {
	foot := int64(len(r.file.tail))
	data := r.file.size - foot
	from := min(max(offset-foot, 0), data)
	frames := io.NewSectionReader(r.file.f, from, data-from)
	if offset >= foot {
		return frames
	}
	return io.MultiReader(bytes.NewReader(r.file.tail[max(offset, 0):]), frames)
}

// Whole is a Stream of which all bytes are at hand.
func Whole(stream []byte) Stream { return &wholeStream{bytes.NewReader(stream)} }

type wholeStream struct{ *bytes.Reader }

func (w *wholeStream) From(offset int64) error {
	_, err := w.Seek(offset, io.SeekStart)
	return err
}

// Receive stores a snapshot that another member streams. It becomes visible only once
// it was verified in full (frames, hash, and that it is the snapshot that was offered)
// and is durable. If the stream breaks, what came of it in sound frames is kept for
// the next stream of the same offer; an offer of another one takes its place. ctx is
// looked at between reads of in: to interrupt a read, close in. One call runs at a time.
func (s *Store) Receive(ctx context.Context, o Offer, in Stream) (Info, error) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if o.Size < minFileSize {
		return Info{}, fmt.Errorf("%w: announced with %d bytes", ErrMismatch, o.Size)
	}
	if s.outdated(o.Meta.Index) {
		return Info{}, ErrOutdated
	}
	s.setIncoming(partialName(o.Meta))
	defer s.setIncoming("")
	if err := s.dropPartials(func(name string) bool { return name != partialName(o.Meta) }); err != nil {
		return Info{}, err
	}
	p, err := s.openPartial(ctx, o)
	if err != nil {
		return Info{}, err
	}
	info, err := p.receive(ctx, in)
	if cerr := p.f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("snapshot: %w", cerr)
	}
	if err == nil {
		err = s.publish(p.path, info)
	}
	var broken *streamError
	switch {
	case err == nil:
		s.log.Info("snapshot received", "index", o.Meta.Index, "term", o.Meta.Term, "keys", info.Keys, "bytes", info.Size)
		return info, nil
	case errors.As(err, &broken) && p.foot != nil:
		s.log.Warn("snapshot received in part; the next stream continues", "index", o.Meta.Index, "have", p.have, "bytes", o.Size)
	default:
		p.discard()
	}
	return Info{}, err
}

// setIncoming tells Retire which partial file is in use.
func (s *Store) setIncoming(name string) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.incoming = name
}

// streamError is a failure of the stream, not of what came of it before.
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }
func (e *streamError) Unwrap() error { return e.err }

const partialSuffix = ".part"

func partialName(m raftcore.SnapshotMeta) string { return fileName(m.Index, m.Term) + partialSuffix }

// dropPartials removes files of broken streams that match.
func (s *Store) dropPartials(match func(name string) bool) error {
	names, err := s.partials(match)
	if err != nil {
		return err
	}
	return s.discard(names...)
}

// partials lists files of broken streams that match.
func (s *Store) partials(match func(name string) bool) ([]string, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, partialSuffix) || !match(n) }), nil
}

// partial is a file that a stream fills: its footer stands in its place at the end
// from the start, the frames follow one another from the beginning.
type partial struct {
	s     *Store
	offer Offer
	name  string // of the snapshot to be
	path  string
	f     vfs.File
	foot  *footer // nil: did not come yet
	tail  int64   // its length
	have  int64   // bytes of sound frames at the beginning of the file
	next  int     // the frame that begins there
}

// openPartial finds what an earlier stream of the offer left, or begins anew.
func (s *Store) openPartial(ctx context.Context, o Offer) (*partial, error) {
	name := fileName(o.Meta.Index, o.Meta.Term)
	p := &partial{s: s, offer: o, name: name, path: filepath.Join(s.dir, partialName(o.Meta))}
	found, err := s.fs.Exists(p.path)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if found {
		if p.f, err = s.fs.Open(p.path); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		if err := p.adopt(ctx); err != nil {
			p.f.Close()
			return nil, err
		}
		if p.foot == nil {
			p.f.Close()
			p.discard()
		}
	}
	if err := s.roomFor(o.Size - p.have); err != nil {
		p.abandon() // what it holds is needed more by the log
		return nil, err
	}
	if p.foot == nil {
		if p.f, err = s.fs.Create(p.path); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	return p, nil
}

// roomFor looks for room, in which files that are being removed are not counted.
func (s *Store) roomFor(need int64) error {
	free, err := s.fs.Free(s.dir)
	if err == nil && free < uint64(need) {
		s.sweepAtOnce()
		free, err = s.fs.Free(s.dir)
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if free < uint64(need) {
		return fmt.Errorf("%w: %d bytes needed, %d free", ErrNoSpace, need, free)
	}
	return nil
}

// abandon removes what was found of use.
func (p *partial) abandon() {
	if p.foot != nil {
		p.f.Close()
		p.discard()
	}
}

// discard removes the file, if it can: else it is judged again when it is found.
func (p *partial) discard() {
	if err := p.s.discard(filepath.Base(p.path)); err != nil {
		p.s.log.Warn("what came of a snapshot was not removed", "err", err)
	}
}

// adopt judges a file found: how many of its first frames are sound. Nothing but its
// own bytes is trusted. A file of another snapshot leaves foot nil.
func (p *partial) adopt(ctx context.Context) error {
	sf, err := openFile(p.f, p.name)
	if damage := (*CorruptionError)(nil); errors.As(err, &damage) {
		return nil
	}
	if err != nil {
		return err
	}
	if sf.size != p.offer.Size || p.mismatch(sf.foot) != nil {
		return nil
	}
	p.foot, p.tail = sf.foot, int64(len(sf.tail))
	pace := p.s.newPacer(ctx)
	var b []byte
	for ; p.next < len(p.foot.frames); p.next++ {
		fr := p.foot.frames[p.next]
		b = resize(b, int(fr.encoded))
		if err := sf.readAt(b, p.have); err != nil {
			return err
		}
		if crc32.Checksum(b, castagnoli) != fr.crc {
			return nil
		}
		if err := pace.pass(len(b)); err != nil {
			return err
		}
		p.have += int64(len(b))
	}
	return nil
}

// mismatch says how a footer is not that of the offer.
func (p *partial) mismatch(foot *footer) error {
	o := &p.offer
	if foot.meta.Index == o.Meta.Index && foot.meta.Term == o.Meta.Term && foot.hash == o.Hash &&
		bytes.Equal(foot.membership, raftcore.EncodeMembership(o.Meta.Membership)) {
		return nil
	}
	return fmt.Errorf("%w: announced index %d term %d, got index %d term %d (or another membership or hash)",
		ErrMismatch, o.Meta.Index, o.Meta.Term, foot.meta.Index, foot.meta.Term)
}

// receive takes the rest of the stream, syncs, and reads all of it back.
func (p *partial) receive(ctx context.Context, in Stream) (Info, error) {
	from := int64(0)
	if p.foot != nil {
		from = p.tail + p.have
		p.s.log.Info("snapshot continued", "index", p.offer.Meta.Index, "have", p.have, "bytes", p.offer.Size)
	}
	if err := in.From(from); err != nil {
		return Info{}, &streamError{fmt.Errorf("snapshot: %w", err)}
	}
	if p.foot == nil {
		if err := p.takeFooter(in); err != nil {
			return Info{}, err
		}
	}
	if err := p.takeFrames(ctx, in); err != nil {
		return Info{}, err
	}
	if err := p.read(in, make([]byte, 1), p.offer.Size); !errors.Is(err, io.EOF) {
		return Info{}, fmt.Errorf("%w: it does not end after %d bytes: %w", ErrMismatch, p.offer.Size, err)
	}
	return p.s.seal(ctx, p.f, p.name, p.offer.Meta)
}

// takeFooter reads the footer, checks that it is the offered one's, and puts it in its
// place. The file has its final size from then on.
func (p *partial) takeFooter(in io.Reader) error {
	head := make([]byte, 8)
	if err := p.read(in, head, 0); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(head[4:])) + 8
	if n < minFileSize || n > min(maxFooterSize, p.offer.Size) {
		return corrupt(p.name, 4, "the length of a footer", n)
	}
	b := make([]byte, n)
	if err := p.read(in, b[copy(b, head):], 8); err != nil {
		return err
	}
	foot, err := parseFooter(b, p.name, p.offer.Size)
	if err != nil {
		return err
	}
	if err := p.mismatch(foot); err != nil {
		return err
	}
	if _, err := p.f.WriteAt(b, p.offer.Size-n); err != nil {
		return fmt.Errorf("snapshot: writing the footer: %w", err)
	}
	p.foot, p.tail = foot, n
	return nil
}

// takeFrames reads the frames that are missing, each checked before it is written.
func (p *partial) takeFrames(ctx context.Context, in io.Reader) error {
	pace, synced := p.s.newPacer(ctx), p.have
	var b []byte
	for ; p.next < len(p.foot.frames); p.next++ {
		if err := ctx.Err(); err != nil {
			return &streamError{err}
		}
		fr := p.foot.frames[p.next]
		b = resize(b, int(fr.encoded))
		if err := p.read(in, b, p.tail+p.have); err != nil {
			return err
		}
		pace.resume()
		if got := crc32.Checksum(b, castagnoli); got != fr.crc {
			return &streamError{corrupt(p.name, p.have, fmt.Sprintf("frame %d with %s", p.next, crcText(fr.crc)), crcText(got))}
		}
		if _, err := p.f.WriteAt(b, p.have); err != nil {
			return fmt.Errorf("snapshot: writing at %d: %w", p.have, err)
		}
		p.have += int64(len(b))
		var err error
		if synced, err = hasten(p.f, synced, p.have); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if err := pace.pass(len(b)); err != nil {
			return &streamError{err}
		}
	}
	return nil
}

// read fills b from the stream, which is at byte at.
func (p *partial) read(in io.Reader, b []byte, at int64) error {
	if _, err := io.ReadFull(in, b); err != nil {
		return &streamError{fmt.Errorf("snapshot: receiving byte %d of %d: %w", at, p.offer.Size, err)}
	}
	return nil
}
