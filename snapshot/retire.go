package snapshot

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Retire removes old snapshots, oldest first, and files set aside as damaged. The
// newest keep snapshots stay (at least one), and so does everything that is not
// older than some snapshot that was verified in full: until then the previous one
// is the way back. A file in use goes when its last user closes it.
func (s *Store) Retire(keep int) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	damaged, err := s.damagedFiles()
	if err != nil {
		return err
	}
	if newest, ok := s.Newest(); ok {
		// What came of a stream that nobody wants any more.
		err := s.dropPartials(func(name string) bool { return name < newest.Name })
		if err != nil {
			return err
		}
	}
	names := append(s.expel(max(keep, 1)), damaged...)
	for _, name := range names {
		if err := s.remove(name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
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

// damagedFiles lists what was set aside, once a sound snapshot exists.
func (s *Store) damagedFiles() ([]string, error) {
	if _, ok := s.Newest(); !ok {
		return nil, nil
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, damagedSuffix) }), nil
}

func (s *Store) remove(name string) error {
	if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	s.log.Info("snapshot removed", "file", name)
	return nil
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
