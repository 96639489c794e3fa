-- What an operation without a record of its own answered, by its token, so that the sidecar's sending it again is answered
-- the same way, and by an ADDSTOCK's id the same way, for as long as an ended reservation.
local ops, ops_new, ops_forgotten = {}, {}, {}

local function ops_read(keys, n)
  for from = 1, n, PAGE do
    local to = from + PAGE - 1
    if to > n then to = n end
    local results = call('HMGET', KEY_OPS, unpack(keys, from, to))
    for i = from, to do
      local bytes = results[i - from + 1]
      ops[keys[i]] = bytes and cmsgpack.unpack(bytes) or false
    end
  end
end

-- { forget, result … } of an earlier sending, or nil
local function op_seen(key)
  local seen = ops[key]
  if seen and seen[1] > now then return seen end
  return nil
end

local function op_remember(key, memory_ms, ...)
  ops[key] = { now + memory_ms, ... }
  ops_new[key] = true
  ended_set('o' .. key, now + memory_ms)
end
