-- show returns a job as it is shown: ID, whether its lease holds, record, head, standing; nil where there is none.
local function show(id)
  local record = call('HGETALL', base .. 'job:' .. id)
  if #record == 0 then return nil end
  local r = {}
  for i = 1, #record, 2 do r[record[i]] = record[i + 1] end
  if r.e and int(r.e) <= now then return nil end
  local leased = 0
  if r.s == 'r' and int(call('ZSCORE', running, id)) > now then leased = 1 end
  return {id, leased, record, call('GETRANGE', base .. 'spec:' .. id, 0, int(r.h) - 1), standing(id)}, r
end
