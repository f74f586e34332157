package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLongWorkGetsMoreProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	p := &processors{few: 1, most: 3}
	first, second := p.begin(), p.begin()
	require.Equal(t, 3, runtime.GOMAXPROCS(0))
	first()
	first() // ending twice counts once
	require.Equal(t, 3, runtime.GOMAXPROCS(0), "the second is under way")
	second()
	require.Equal(t, 1, runtime.GOMAXPROCS(0))
}
