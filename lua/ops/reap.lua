-- X token count
--   how many overdue reservations gave their stock back; forgets as many old records beside it
OPERATIONS.X = { arity = 2, op = 1, run = function(first)
  local token, count = ARGV[first], tonumber(ARGV[first + 1])
  local seen = op_seen(token)
  if seen then return seen[2] end
  local taken = 0
  for _, sku in ipairs(call('ZRANGEBYSCORE', KEY_DUE, '-inf', now, 'LIMIT', 0, math.min(count, PAGE))) do
    due_exact[sku] = true -- also where nothing was overdue: its soonest reservation has ended otherwise
    local _, n = settle(sku, count - taken)
    taken = taken + n
    if taken >= count then break end
  end
  for _, member in ipairs(call('ZRANGEBYSCORE', KEY_ENDED, '-inf', now, 'LIMIT', 0, math.min(count, PAGE))) do
    if not ended_touched[member] and not ended_removed[member] then forget(member) end
  end
  if taken > 0 then op_remember(token, ops_memory_ms, taken) end
  return taken
end }
