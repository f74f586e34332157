package kv

// largeTape is from where a tape is large: its memory is not kept for the next
// reply, so it begins small each time and is worth a hint.
const largeTape = chunkKeep

// maxRoom is the most that a hint is good for. What a hint is made of may be far off
// (one long element among many short ones), and a tape beyond it is copied few times.
const maxRoom = 64 << 20

// Grow makes room for about n more bytes, what the command is going to append. A tape
// that is not told grows by and by, and each time all of it is copied to memory that is
// new to the process.
func (r *Reply) Grow(n int) { r.ensure(min(n+2*lineRoom, maxRoom)) }

// valueRoom is what Array and its kin take a value to need at least: a bulk of one or
// two bytes. Only a tape of integers stays below that, by half.
const valueRoom = 8

// expect makes room for n values of unknown length.
func (r *Reply) expect(n int) { r.Grow(min(n, maxRoom) * valueRoom) }

// makeRoom is called before n bytes and a line or two are appended.
func (r *Reply) makeRoom(n int) { r.ensure(n + lineRoom) }

// lineRoom holds a bulk's length and the score that may follow it.
const lineRoom = 64

// ensure sees to n bytes of room. A tape that is large already at least doubles, however
// little was asked for, or many small hints would copy it each time; append would add a
// quarter.
func (r *Reply) ensure(n int) {
	have := len(r.b)
	if n <= cap(r.b)-have || have+n < largeTape {
		return
	}
	more := min(have, max(maxRoom, have/4))
	r.b = append(make([]byte, 0, have+max(n, more)), r.b...)
}

// growLike makes room for left values that take about as much each as the done ones
// did that begin at start; at most is the most that they can be believed to take.
func (r *Reply) growLike(start, done, left int, atMost int64) {
	if done > 0 {
		r.Grow(int(min(float64(len(r.b)-start)/float64(done)*float64(left), float64(atMost))))
	}
}
