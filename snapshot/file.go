package snapshot

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	"github.com/rkvdb/rkv/internal/vfs"
)

// OpenFile opens a snapshot file wherever it lies, outside of any Store: a backup,
// or one that an operator looks at. Nothing is ever changed, damaged or not.
func OpenFile(fs vfs.FS, path string) (*Reader, error) {
	f, err := fs.OpenRead(path)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	sf, err := openFile(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Reader{codec: codecFor(runtime.GOMAXPROCS(0)), entry: &entry{info: sf.foot.info(filepath.Base(path))}, file: sf}, nil
}

// RawAt reads the file's bytes as they are, unchecked, while the Reader is open. It
// may be used from several goroutines.
func (r *Reader) RawAt() io.ReaderAt { return r.file.f }
