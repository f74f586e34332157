package main

import (
	"strings"
	"testing"
)

func TestTheInnermostFunctionThatIsKnownDecides(t *testing.T) {
	const pkg = "github.com/rkvdb/rkv/"
	stacks := []string{
		"	1 runtime.memmove\n	2 " + pkg + "kv.AppendUnit\n	3 " + pkg + "internal/node.(*loop).lead\n	4 " + pkg + "resp.(*loop).turn\n",
		"	1 " + pkg + "kv.cmdSet\n	2 " + pkg + "kv.(*Store).Apply\n	3 " + pkg + "internal/node.(*applier).apply\n",
		"	1 [unknown]\n	2 " + pkg + "internal/vfs.fdatasync\n	3 " + pkg + "segmentlog.(*Log).Save\n	4 " + pkg + "internal/node.(*syncer).do\n",
		"	1 runtime.mcall\n",
		"	1 " + pkg + "raftcore.(*Core).Step\n	2 " + pkg + "internal/node.(*loop).turn\n",
	}
	agreeing, all, err := countAgreeing(strings.NewReader(strings.Join(stacks, "\n")))
	if agreeing != 2 || all != 5 || err != nil {
		t.Errorf("%d of %d, %v; want 2 of 5", agreeing, all, err)
	}
}
