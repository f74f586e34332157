package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// disk is where one node keeps its data: an ext4 image of its own, mounted through a
// loop device, which can stall, fill up, or lose everything that was not synced. Where
// mounting is impossible it is a plain directory without any of that.
type disk struct {
	dir   string
	image string // "" for a plain directory

	mu     sync.Mutex
	frozen bool
}

// imageBytes is small enough to be filled quickly, and holds a node with small segments
// and snapshots several times over.
const imageBytes = 512 << 20

func newDisk(dir string, own bool) (*disk, error) {
	d := &disk{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil || !own {
		return d, err
	}
	d.image = dir + ".img"
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(imageBytes); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := execute("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

// mount also replays the journal after a power cut.
func (d *disk) mount() error { return execute("mount", "-o", "loop", d.image, d.dir) }

// unmount waits a little for a process that was just killed.
func (d *disk) unmount() (err error) {
	for range 100 {
		if err = execute("umount", d.dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// Requests of linux/fs.h and fs/ext4/ext4.h.
const (
	fiFreeze      = 0xC0045877
	fiThaw        = 0xC0045878
	ext4Shutdown  = 0x8004587D
	goingNoFlush  = 2
	fillerName    = "filler"
	fillerReserve = 64 << 10
)

// freeze stalls every write and sync until thaw.
func (d *disk) freeze() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, fiFreeze, 0) })
	d.frozen = err == nil
	return err
}

func (d *disk) thaw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		_ = d.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, fiThaw, 0) })
		d.frozen = false
	}
}

// cutPower makes the file system forget what was not synced: nothing of the cache, not
// even the journal, reaches the device any more. The node's process must be killed with it.
func (d *disk) cutPower() error {
	return d.ioctl(func(fd int) error { return unix.IoctlSetPointerInt(fd, ext4Shutdown, goingNoFlush) })
}

// repower mounts the disk as the power cut left it.
func (d *disk) repower() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}

// fill takes all free space but a little.
func (d *disk) fill() error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.dir, fillerName))
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(st.Bavail)*st.Bsize - fillerReserve
	return unix.Fallocate(int(f.Fd()), 0, 0, max(size, 1))
}

func (d *disk) drain() error { return os.Remove(filepath.Join(d.dir, fillerName)) }

// free removes everything.
func (d *disk) free() error {
	if d.image != "" {
		d.thaw()
		if err := d.unmount(); err != nil && !strings.Contains(err.Error(), "not mounted") {
			return err
		}
		if err := os.Remove(d.image); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.RemoveAll(d.dir)
}

func (d *disk) ioctl(do func(fd int) error) error {
	if d.image == "" {
		return fmt.Errorf("%s is a plain directory", d.dir)
	}
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(int(f.Fd()))
}

// tryDisks says why own disks are impossible here, nil if they work.
func tryDisks(dir string) error {
	d, err := newDisk(filepath.Join(dir, "try"), true)
	if err == nil {
		err = d.freeze()
		d.thaw()
	}
	if err == nil {
		err = d.cutPower()
	}
	if d != nil {
		if e := d.free(); err == nil {
			err = e
		}
	}
	return err
}

func execute(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
