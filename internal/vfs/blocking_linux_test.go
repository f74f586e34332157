package vfs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A sync is expected to be brief if it has little to write and the last one was brief.
func TestBriefSyncsAreForeseen(t *testing.T) {
	var p syncPace
	require.True(t, p.brief(), "nothing is known yet")
	p.owes(briefSyncBytes)
	require.True(t, p.brief())
	p.owes(briefSyncBytes)
	p.owes(1)
	require.False(t, p.brief(), "much to write")
	require.True(t, p.brief(), "that was written by the sync before")
	p.took(briefSync + 1)
	require.False(t, p.brief(), "a slow disk")
	p.took(briefSync)
	require.True(t, p.brief())
	p.spent(briefSync + 1)
	require.False(t, p.brief(), "the write before it was slow")
	p.took(0)
	require.False(t, p.brief(), "with that it was no brief one")
	p.took(0)
	require.True(t, p.brief())
}

// What was written is counted whichever way it was.
func TestWritesAreOwed(t *testing.T) {
	f, err := OS{}.Create(t.TempDir() + "/f")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, 100), 0)
	require.NoError(t, err)
	require.NoError(t, f.Writev([][]byte{make([]byte, 10), make([]byte, 20)}, 100))
	p := &f.(*osFile).syncs
	require.EqualValues(t, 130, p.owed.Load())
	require.NoError(t, f.Datasync())
	require.Zero(t, p.owed.Load())
	require.Less(t, time.Duration(0), time.Duration(p.last.Load()))
}
