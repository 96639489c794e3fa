-- X token count
--   { how many overdue reservations gave their stock back, 1 where more may be left }; forgets as many old records beside it
OPERATIONS.X = { arity = 2, op = 1, run = function(first)
  define_settling()
  local token, count = ARGV[first], tonumber(ARGV[first + 1])
  local seen = op_seen(token)
  if seen then return { seen[2], 1 } end
  local taken, looked, more, page = 0, 0, 0, nil
  repeat
    -- Nothing is written before the end of the call: step over those that were looked at.
    page = call('ZRANGEBYSCORE', KEY_DUE, '-inf', now, 'LIMIT', looked, PAGE)
    looked = looked + #page
    for _, sku in ipairs(page) do
      due_exact[sku] = true -- also where nothing was overdue: its soonest reservation has ended otherwise
      local all, n = settle(sku, count - taken)
      taken = taken + n
      if not all then more = 1 end
    end
    -- A SKU of which nothing was overdue costs as much as one of which something was.
    if #page == PAGE and looked >= count + PAGE then more = 1 end
  until #page < PAGE or more == 1
  local forgotten = 0
  repeat
    page = call('ZRANGEBYSCORE', KEY_ENDED, '-inf', now, 'LIMIT', forgotten, PAGE)
    forgotten = forgotten + #page
    for _, member in ipairs(page) do
      if not ended_touched[member] and not ended_removed[member] then forget(member) end
    end
    if #page == PAGE and forgotten >= count then more = 1 end
  until #page < PAGE or forgotten >= count
  if taken > 0 then op_remember(token, ops_memory_ms, taken) end
  return { taken, more }
end }
