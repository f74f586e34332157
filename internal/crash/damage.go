package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// files are the contents of a directory.
func files(disk *vfs.Mem, dir string) map[string][]byte {
	names, err := disk.List(dir)
	must(err)
	all := map[string][]byte{}
	for _, n := range names {
		if b, err := disk.ReadFile(filepath.Join(dir, n)); err == nil {
			all[n] = b
		}
	}
	return all
}

// diskOf has the given files, durable.
func diskOf(dir string, all map[string][]byte) *vfs.Mem {
	disk := vfs.NewMem()
	must(disk.MkdirAll(dir))
	for n, b := range all {
		must(disk.WriteFile(filepath.Join(dir, n), b))
	}
	return disk
}

// changed is a copy of all with one file changed.
func changed(all map[string][]byte, name string, change func(b []byte)) map[string][]byte {
	c := map[string][]byte{}
	for n, b := range all {
		c[n] = b
	}
	b := bytes.Clone(all[name])
	change(b)
	c[name] = b
	return c
}

func lastUsed(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

// damages does every kind of damage once to one log, one snapshot and one identity.
func (r *run) damages(seed uint64) {
	for _, closed := range []bool{true, false} {
		r.logDamage(seed, closed)
	}
	r.snapshotDamage()
	r.identityDamage()
}

// logCase is a log at rest with what it must hold: all of h was acknowledged, and
// up to promised it was promised by a later write.
type logCase struct {
	h        history
	promised uint64
}

// logDamage flips, zeroes, copies and swaps.
func (r *run) logDamage(seed uint64, closed bool) {
	disk, l, h, rng := grown(seed)
	old := files(disk, logDir)
	last := entries(rng, h.last()+1, h.hard.Term, 3, 400)
	c := logCase{promised: h.last()}
	must(saving(nil, last)(l))
	c.h = h.with(last)
	if closed {
		must(l.Close())
		c.promised = c.h.last()
	} else {
		disk = disk.CrashClone(rand.New(&bits{chosen: ^uint64(0)}))
		l.Close()
	}
	all := files(disk, logDir)
	for name, b := range all {
		seg := strings.HasSuffix(name, ".seg")
		if !seg && name != "hardstate" {
			continue
		}
		used := lastUsed(b)
		for at := range b {
			if at > used && at%512 != 0 || seg && at >= 200 && at < 4096 && at%64 != 0 {
				continue // empty space is all alike
			}
			r.judgeDamage(&c, changed(all, name, func(b []byte) { b[at] ^= 1 << (at % 8) }), "%s: bit of byte %d flipped", name, at)
		}
		for at := 0; at < used; at += 512 {
			if seg && !closed && lastSegment(all) == name && !below(disk, name, at+512, c.promised) {
				continue // the admitted doubt, see the package comment
			}
			r.judgeDamage(&c, changed(all, name, func(b []byte) { clear(b[at:min(at+512, len(b))]) }), "%s: sector %d zeroed", name, at/512)
		}
		if seg {
			r.recordDamage(&c, all, disk, name)
		}
	}
	r.segmentDamage(&c, all, old)
}

func lastSegment(all map[string][]byte) (last string) {
	for name, b := range all {
		if strings.HasSuffix(name, ".seg") && lastUsed(b) > 4096 && name > last {
			last = name
		}
	}
	return last
}

// place is where a record lies.
type place struct {
	off, size int
	index     uint64
}

func records(disk *vfs.Mem, name string) (found []place) {
	var out strings.Builder
	_ = segmentlog.Dump(disk, logDir, &out)
	in := false
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, logDir) {
			in = strings.HasPrefix(line, filepath.Join(logDir, name))
		}
		var p place
		var term, typ, length int
		if n, _ := fmt.Sscanf(line, "%d index %d term %d type %d length %d", &p.off, &p.index, &term, &typ, &length); in && n == 5 {
			p.size = (64 + length + 7) &^ 7
			found = append(found, p)
		}
	}
	return found
}

// below reports whether byte end of a segment lies within promised records.
func below(disk *vfs.Mem, name string, end int, promised uint64) bool {
	for _, p := range records(disk, name) {
		if p.index == promised {
			return end <= p.off+p.size
		}
	}
	return false
}

// recordDamage copies each record over the next and swaps neighbours.
func (r *run) recordDamage(c *logCase, all map[string][]byte, disk *vfs.Mem, name string) {
	recs := records(disk, name)
	for i := 1; i < len(recs); i++ {
		a, b := recs[i-1], recs[i]
		r.judgeDamage(c, changed(all, name, func(f []byte) { copy(f[b.off:b.off+min(a.size, b.size)], f[a.off:a.off+a.size]) }),
			"%s: record %d copied over the next", name, a.index)
		r.judgeDamage(c, changed(all, name, func(f []byte) {
			both := append(bytes.Clone(f[b.off:b.off+b.size]), f[a.off:a.off+a.size]...)
			copy(f[a.off:], both)
		}), "%s: record %d and the next swapped", name, a.index)
	}
}

// segmentDamage swaps, removes and brings back whole files.
func (r *run) segmentDamage(c *logCase, all, old map[string][]byte) {
	var segs []string
	for name, b := range all {
		if strings.HasSuffix(name, ".seg") && lastUsed(b) > 4096 {
			segs = append(segs, name)
		}
	}
	for _, a := range segs {
		without := changed(all, a, func([]byte) {})
		delete(without, a)
		r.judgeDamage(c, without, "%s removed", a)
		for _, b := range segs {
			if a < b {
				swapped := changed(all, a, func([]byte) {})
				swapped[a], swapped[b] = all[b], all[a]
				r.judgeDamage(c, swapped, "%s and %s swapped", a, b)
			}
		}
		if was, ok := old[a]; ok && !bytes.Equal(was, all[a]) {
			back := changed(all, a, func([]byte) {})
			back[a] = was
			if c.promised == c.h.last() { // else it is the state before an unpromised batch
				r.judgeDamage(c, back, "%s as it was before the last batch", a)
			}
		}
	}
}

// judgeDamage opens a damaged log.
func (r *run) judgeDamage(c *logCase, all map[string][]byte, format string, args ...any) {
	v, err := c.judge(diskOf(logDir, all))
	r.damaged(v, err, format, args...)
}

func (c *logCase) judge(disk *vfs.Mem) (verdict, error) {
	l, rec, err := openLog(disk)
	if err != nil {
		if isDamage(err) {
			return refused, nil
		}
		return silent, fmt.Errorf("no address: %w", err)
	}
	defer l.Close()
	if rec.HardState.Term != c.h.hard.Term || rec.HardState.Vote != c.h.hard.Vote {
		return silent, fmt.Errorf("hard state %+v", rec.HardState)
	}
	got := history{base: raftcore.Position{Index: rec.FirstIndex - 1, Term: rec.BaseTerm}}
	if got.entries, err = l.Entries(rec.FirstIndex, rec.LastIndex+1, 1<<40); err != nil {
		if isDamage(err) {
			return refused, nil
		}
		return silent, err
	}
	if err := covers(&got, &c.h, c.h.base.Index, min(got.last(), c.h.last())); err != nil {
		return silent, err
	}
	end := raftcore.Position{Term: c.h.term(c.h.last()), Index: c.h.last()}
	switch s := rec.Suspect; {
	case got.last() == c.h.last():
		return whole, nil
	case got.last() < c.promised:
		return silent, fmt.Errorf("ends at %d, promised was %d", got.last(), c.promised)
	case s == nil:
		return silent, fmt.Errorf("ends at %d of %d without suspicion", got.last(), c.h.last())
	case s.LastTerm < end.Term || s.LastTerm == end.Term && s.LastIndex < end.Index:
		return silent, fmt.Errorf("claims only (%d, %d)", s.LastTerm, s.LastIndex)
	}
	return refused, nil
}

// snapshotDamage flips every byte of the newest of two snapshots, zeroes its sectors
// and cuts it short: the one before has to be found.
func (r *run) snapshotDamage() {
	disk, s := oldSnap()
	must(writeSnap(s, 20))
	all := files(disk, snapDir)
	var name string
	for n := range all {
		name = max(name, n)
	}
	judge := func(damaged map[string][]byte, format string, args ...any) {
		disk := diskOf(snapDir, damaged)
		index, err := soundSnap(disk)
		if isDamage(err) { // found while reading; now the one before is the newest
			index, err = soundSnap(disk)
		}
		switch {
		case err == nil && index == 10:
			r.damaged(refused, nil, "")
		case err == nil:
			r.damaged(whole, nil, "")
		case isDamage(err) || errors.Is(err, snapshot.ErrNotFound):
			r.damaged(silent, fmt.Errorf("the way back is blocked: %w", err), format, args...)
		default:
			r.damaged(silent, err, format, args...)
		}
	}
	for at := range all[name] {
		judge(changed(all, name, func(b []byte) { b[at] ^= 1 << (at % 8) }), "%s: bit of byte %d flipped", name, at)
	}
	for at := 0; at < len(all[name]); at += 512 {
		judge(changed(all, name, func(b []byte) { clear(b[at:min(at+512, len(b))]) }), "%s: sector zeroed at %d", name, at)
		short := changed(all, name, func([]byte) {})
		short[name] = all[name][:at]
		judge(short, "%s: cut at %d", name, at)
	}
}

func (r *run) identityDamage() {
	disk := vfs.NewMem()
	must(disk.MkdirAll(dataDir))
	want, err := node.BootIdentity(disk, dataDir, 3)
	must(err)
	all := files(disk, dataDir)
	for at := range all["identity"] {
		damaged := diskOf(dataDir, changed(all, "identity", func(b []byte) { b[at] ^= 1 << (at % 8) }))
		got, err := node.BootIdentity(damaged, dataDir, 3)
		switch {
		case err != nil && isDamage(err):
			r.damaged(refused, nil, "")
		case err != nil:
			r.damaged(silent, fmt.Errorf("no address: %w", err), "identity byte %d", at)
		case got.Incarnation != want.Incarnation || got.Boot <= want.Boot:
			r.damaged(silent, fmt.Errorf("%+v after %+v", got, want), "identity byte %d", at)
		default:
			r.damaged(whole, nil, "")
		}
	}
}
