-- Operations that leave no record of their own (a set, an addition, an extension, a mark, a reaping) are remembered by
-- their token, so that the sidecar may send one again after a lost answer: the second sending gets the first one's result.
-- An ADDSTOCK's own id is remembered the same way, for as long as an ended reservation.
local ops, ops_new = {}, {}

local function ops_read(keys)
  for from = 1, #keys, PAGE do
    local to = math.min(from + PAGE - 1, #keys)
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

-- The sidecar sends a batch again where it got no answer. The first sending may still be on its way (a frozen upstream, a
-- packet held up) and arrive after the second one was answered: it is told by the number that the second one left here.
local function overtaken()
  ops_read({ batch })
  local seen = op_seen(batch)
  return seen and seen[2] > attempt
end
