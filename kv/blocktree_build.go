package kv

import "bytes"

// fanBuilt is the width of inner nodes of a built tree: not full, so that the
// first inserts split nothing.
const fanBuilt = 48

// treeFrom builds a tree from entries in ascending key order (or with empty keys,
// in positional order), in O(n) and with full leaves. next's slices are copied. An
// entry out of order, which only a faulty file could bring, is put where it
// belongs, so the result is a correct tree in any case.
func treeFrom(h *heap, next func() (key, val []byte, ok bool)) *tree {
	t := newTree(h)
	var leaves []*treeNode
	leaf := t.root
	var prev []byte
	key, val, ok := next()
	for ; ok; key, val, ok = next() {
		if leaf.n > 0 && len(prev)+len(key) > 0 && bytes.Compare(prev, key) >= 0 {
			break
		}
		if leaf.n > 0 && leaf.size+int64(entrySize(key, val)) > leafMax {
			leaves = append(leaves, leaf)
			leaf = t.newNode()
		}
		leaf.insertEntry(leaf.n, key, val)
		prev, _ = leaf.entry(leaf.n - 1)
	}
	t.root = t.buildInner(append(leaves, leaf))
	for ; ok; key, val, ok = next() {
		t.put(key, val)
	}
	return t
}

// buildInner builds the levels above leaves, sharing children out evenly.
func (t *tree) buildInner(level []*treeNode) *treeNode {
	for len(level) > 1 {
		var up []*treeNode
		nodes := (len(level) + fanBuilt - 1) / fanBuilt
		for i := range nodes {
			kids := level[i*len(level)/nodes : (i+1)*len(level)/nodes]
			seps := make([][]byte, len(kids))
			for j := 1; j < len(kids); j++ {
				seps[j] = separator(kids[j-1].lastKey(), kids[j].firstKey())
			}
			up = append(up, t.newInner(append([]*treeNode(nil), kids...), seps))
		}
		level = up
	}
	return level[0]
}

func (n *treeNode) firstKey() []byte {
	for n.kids != nil {
		n = n.kids[0]
	}
	k, _ := n.entry(0)
	return k
}

func (n *treeNode) lastKey() []byte {
	for n.kids != nil {
		n = n.kids[len(n.kids)-1]
	}
	k, _ := n.entry(n.n - 1)
	return k
}
