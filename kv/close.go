package kv

// Close gives the store's memory, which the garbage collector does not see, back to
// the kernel. Nothing of the store may be used any more. A node does not need it:
// its store lives as long as its process. It does nothing while a cut is open.
func (s *Store) Close() {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.lock()
	defer s.mu.Unlock()
	if len(s.heap.cuts) == 0 {
		s.heap.unmap()
	}
}
