package jobs

import "context"

// Step runs the jobs that are due, one after the other, until none is, and returns how many attempts that were. It is for tests with a clock
// of their own, and for programs that work at times of their choice; schedules are [Queues.Plan]'s.
func (q *Queues) Step(ctx context.Context, r Runner) (attempts int, err error) {
	w := q.newWorker(ctx, r)
	w.most = 1 // no lease is held while another job runs
	for progress := true; progress && ctx.Err() == nil; {
		progress = false
		c := q.config.Load()
		for _, name := range c.names {
			queue := *c.queues[name]
			reply, err := w.claim(ctx, &queue)
			if err != nil {
				return attempts, err
			}
			for _, job := range reply.jobs {
				w.begin(&queue, job)
				w.work.Wait()
				attempts++
				progress = true
			}
		}
	}
	return attempts, ctx.Err()
}
