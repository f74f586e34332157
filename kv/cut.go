package kv

// cut is the state of some keyspaces at one moment.
type cut struct{ kss []*keyspace }

func (h *heap) openCut(kss []*keyspace) *cut { return &cut{kss} }

func (c *cut) each(db int, fn func(key []byte, v Value) error) (err error) {
	c.kss[db].each(func(k []byte, v Value) bool { err = fn(k, v); return err == nil })
	return err
}
func (c *cut) close() {}

// digestCut folds all keys of all keyspaces of the cut.
func digestCut(c *cut) (lo, hi uint64) { return 0, 0 }
