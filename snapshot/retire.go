package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
)

// Retire removes old snapshots, oldest first, and files set aside as damaged. The
// newest keep snapshots stay (at least one), and so does everything that is not
// older than some snapshot that was verified in full: until then the previous one
// is the way back. A file in use goes when its last user closes it.
func (s *Store) Retire(keep int) error {
	if err := s.retire(keep); err != nil {
		return err
	}
	return s.sweep()
}

func (s *Store) retire(keep int) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	names, err := s.damagedFiles()
	if err != nil {
		return err
	}
	if newest, ok := s.Newest(); ok {
		// What came of a stream that nobody wants any more. Of one that goes on Receive
		// finds that itself.
		partials, err := s.partials(func(name string) bool { return name < newest.Name && name != s.incoming })
		if err != nil {
			return err
		}
		names = append(partials, names...)
	}
	return s.retireFiles(append(s.expel(max(keep, 1)), names...))
}

// expel takes the snapshots to be removed off the list and returns the names of
// those that nobody uses, oldest first.
func (s *Store) expel(keep int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	proven := slices.IndexFunc(s.entries, func(e *entry) bool { return e.proven })
	if proven < 0 || len(s.entries) <= keep {
		return nil
	}
	keep = max(keep, proven+1)
	var names []string
	for _, e := range slices.Backward(s.entries[min(keep, len(s.entries)):]) {
		e.retired = true
		if e.refs == 0 {
			names = append(names, e.info.Name)
		}
	}
	s.entries = slices.Clip(s.entries[:min(keep, len(s.entries))])
	return names
}

// damagedFiles lists what was set aside and nobody reads any more, once a sound snapshot
// exists.
func (s *Store) damagedFiles() ([]string, error) {
	if _, ok := s.Newest(); !ok {
		return nil, nil
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside = slices.DeleteFunc(s.aside, func(e *entry) bool { return e.refs == 0 })
	return slices.DeleteFunc(names, func(n string) bool {
		return !strings.HasSuffix(n, damagedSuffix) ||
			slices.ContainsFunc(s.aside, func(e *entry) bool { return e.info.Name+damagedSuffix == n })
	}), nil
}

// retireFiles gives files temporary names, durably, and leaves them to sweep: under
// those names they mean nothing, however much of them is left. Caller holds publishing.
func (s *Store) retireFiles(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var temps []string
	for _, name := range names {
		temp := s.tempPath(name)
		if err := s.fs.Rename(filepath.Join(s.dir, name), temp); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		temps = append(temps, temp)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.garbage = append(s.garbage, temps...)
	return nil
}

// discard removes files that are under other names than temporary ones.
func (s *Store) discard(names ...string) error {
	s.publishing.Lock()
	err := s.retireFiles(names)
	s.publishing.Unlock()
	if err != nil {
		return err
	}
	return s.sweep()
}

// drop removes a temporary file of which nothing came. If that fails, the next Open does.
func (s *Store) drop(temp string) {
	s.mu.Lock()
	s.garbage = append(s.garbage, temp)
	s.mu.Unlock()
	if err := s.sweep(); err != nil {
		s.log.Warn("a temporary file was not removed", "err", err)
	}
}

// sweep removes the garbage: beside the caller, in steps with rests between them, or at
// once (Options.Beside).
func (s *Store) sweep() error {
	if s.opts.Beside == nil {
		return s.sweepNow()
	}
	s.mu.Lock()
	idle := len(s.garbage) == 0
	s.mu.Unlock()
	if idle {
		return nil
	}
	s.opts.Beside(func() {
		if err := s.sweepNow(); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("old snapshots not removed", "err", err)
		}
	})
	return nil
}

// sweepNow returns at once if another call is at it. A file that cannot be removed does
// not keep the others; an error of Options.Rest does.
func (s *Store) sweepNow() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweeping {
		return nil
	}
	s.sweeping = true
	defer func() {
		s.sweeping = false
		s.swept.Broadcast()
	}()
	var errs []error
	for len(s.garbage) > 0 {
		path := s.garbage[0]
		s.garbage = s.garbage[1:]
		stopped, err := s.erase(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot: %w", err))
		}
		if stopped {
			break
		}
	}
	return errors.Join(errs...)
}

// sweepAtOnce has removed all garbage when it returns, without rests, whoever is at it:
// the room is wanted. What cannot be removed the next Open finds.
func (s *Store) sweepAtOnce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried++
	defer func() { s.hurried-- }()
	for s.sweeping || len(s.garbage) > 0 {
		if s.sweeping {
			s.swept.Wait()
			continue
		}
		s.mu.Unlock()
		err := s.sweepNow()
		s.mu.Lock()
		if err != nil {
			s.log.Warn("old snapshots not removed", "err", err)
		}
	}
}

// erase removes one file, if it is there. stopped: that was ended by Options.Rest.
// Caller holds mu, which is let go meanwhile.
func (s *Store) erase(path string) (stopped bool, err error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	err = vfs.Erase(s.fs, path, s.eraseStep, func(took time.Duration) error {
		err := s.rest(took)
		stopped = err != nil
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was published, though that failed in the end
	}
	if err == nil {
		s.log.Info("file removed", "file", filepath.Base(path))
	}
	return stopped, err
}

// rest is between two steps of a removal.
func (s *Store) rest(took time.Duration) error {
	s.mu.Lock()
	hurried := s.hurried > 0
	s.mu.Unlock()
	if hurried || s.opts.Rest == nil {
		return nil
	}
	return s.opts.Rest(vfs.ErasePause(took))
}

// quarantine takes a snapshot that turned out damaged off the list, and its file
// out of the way of one of the same name.
func (s *Store) quarantine(e *entry, cause error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.mu.Lock()
	i := slices.Index(s.entries, e)
	if i >= 0 {
		s.entries = slices.Delete(slices.Clone(s.entries), i, i+1)
		s.aside = append(s.aside, e)
	}
	s.mu.Unlock()
	if i >= 0 {
		s.setAside(e.info.Name, cause)
	}
}

// setAside renames a damaged file. If that fails, or does not survive a crash, the
// damage is found again: nothing depends on it.
func (s *Store) setAside(name string, cause error) {
	s.log.Error("snapshot damaged", "file", name, "err", cause)
	path := filepath.Join(s.dir, name)
	if err := s.fs.Rename(path, path+damagedSuffix); err != nil {
		s.log.Error("damaged snapshot cannot be set aside", "file", name, "err", err)
	}
}
