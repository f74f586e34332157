package raftcore

import (
	"fmt"
	"slices"
)

// configStack is the one place that knows memberships: the one as of the newest
// snapshot (or compaction) and those of every EntryConfig in the log since. The
// newest is in force, committed or not (thesis 4.3); a truncation brings back the
// one before, however many entries go (R19-R22, R40).
type configStack struct {
	entries []configAt // ascending; never empty once recovered
	changed bool       // the newest is another than at the last look
}

type configAt struct {
	index  uint64
	config Membership
}

// recover rebuilds the stack from what the disk remembered.
func (s *configStack) recover(cfg *Config) error {
	base := cfg.Snapshot.Membership.clone()
	if len(base.Members) > 0 {
		if err := base.check(); err != nil {
			return &ConfigError{"Snapshot.Membership", err.Error()}
		}
	}
	s.entries = []configAt{{cfg.Snapshot.Index, base}}
	for i := range cfg.Configs {
		e := &cfg.Configs[i]
		config, err := DecodeMembership(e.Body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		s.entries = append(s.entries, configAt{e.Index, config})
	}
	return nil
}

func (s *configStack) newest() Membership { return s.entries[len(s.entries)-1].config }

func (s *configStack) newestIndex() uint64 { return s.entries[len(s.entries)-1].index }

func (s *configStack) at(index uint64) Membership {
	for i := len(s.entries) - 1; i >= 0; i-- {
		if s.entries[i].index <= index {
			return s.entries[i].config
		}
	}
	return Membership{}
}

// mayLead reports whether id votes in the newest configuration, or in an older one
// that may still be the committed one. A server that its own newest configuration
// leaves out has to campaign while that is not known to be committed: it may be
// the only one whose log is long enough to commit it (thesis 4.2.2, figure 4.6).
func (s *configStack) mayLead(id identity, commit uint64) bool {
	for i := len(s.entries) - 1; i >= 0; i-- {
		if s.entries[i].config.quorums().Contains(id) {
			return true
		}
		if s.entries[i].index <= commit {
			break
		}
	}
	return false
}

// appended takes an entry that joined the log. Step has checked that the body of
// a configuration entry decodes.
func (s *configStack) appended(e *Entry) {
	if e.Type != EntryConfig {
		return
	}
	if config, err := DecodeMembership(e.Body); err == nil {
		s.entries = append(s.entries, configAt{e.Index, config})
		s.changed = true
	}
}

func (s *configStack) truncate(from uint64) {
	for len(s.entries) > 1 && s.entries[len(s.entries)-1].index >= from {
		s.entries = s.entries[:len(s.entries)-1]
		s.changed = true
	}
}

// compact forgets configurations that nothing up from index can ask for.
func (s *configStack) compact(index uint64) {
	n := 0
	for n+1 < len(s.entries) && s.entries[n+1].index <= index {
		n++
	}
	s.entries = slices.Delete(s.entries, 0, n)
}

func (s *configStack) reset(meta SnapshotMeta) {
	s.entries = []configAt{{meta.Index, meta.Membership.clone()}}
	s.changed = true
}
