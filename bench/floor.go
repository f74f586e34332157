package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// floorResult is what the disk allows: a 4 KiB overwrite and fdatasync, microseconds.
type floorResult struct {
	OneP50, OneP99, ThreeP50, ThreeP99 float64
}

func (f floorResult) String() string {
	return fmt.Sprintf("floor: 4 KiB overwrite + fdatasync: one writer p50 %.0f us, p99 %.0f us; three writers p50 %.0f us, p99 %.0f us",
		f.OneP50, f.OneP99, f.ThreeP50, f.ThreeP99)
}

func measureFloor(dir string) (f floorResult, err error) {
	if f.OneP50, f.OneP99, err = syncLatency(dir, 1); err != nil {
		return f, err
	}
	f.ThreeP50, f.ThreeP99, err = syncLatency(dir, 3)
	return f, err
}

func syncLatency(dir string, writers int) (p50, p99 float64, err error) {
	var mu sync.Mutex
	var all []float64
	var first error
	var wg sync.WaitGroup
	for i := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			us, err := syncOne(filepath.Join(dir, fmt.Sprint("floor", i)))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, us...)
			if first == nil {
				first = err
			}
		}()
	}
	wg.Wait()
	if first != nil || len(all) == 0 {
		return 0, 0, first
	}
	sort.Float64s(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}

func syncOne(name string) (us []float64, err error) {
	const size = 8 << 20
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer os.Remove(name)
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, 4096)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		start := time.Now()
		if _, err := f.WriteAt(block, int64(len(us)*4096%size)); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		us = append(us, float64(time.Since(start).Nanoseconds())/1e3)
	}
	return us, nil
}
