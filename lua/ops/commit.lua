-- C id token reference ('' for none)
--   1 sold, now or before by the same token or reference · { word }
local function commit(id, token, reference)
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'x' then return { 'EXPIRED' } end
  if h.state == 'r' then return { 'ROLLEDBACK' } end
  if h.state == 'c' then
    if h.commit_token == token or (reference ~= '' and h.reference == reference) then return 1 end
    return { 'ALREADYCOMMITTED' }
  end
  if reference ~= '' then h = hold_move(id, h) end
  local s = stock_of(h.sku)
  s.reserved, s.committed = s.reserved - h.quantity, s.committed + h.quantity
  h.commit_token, h.reference = token, reference
  hold_end(id, h, 'c')
  return 1
end

OPERATIONS.C = { arity = 3, id = 1, run = function(first)
  define_records()
  return commit(ARGV[first], ARGV[first + 1], ARGV[first + 2])
end }

-- c lot list: commits of this lot's reservations; list: place(2) token(11) …
--   1 all are sold, now or before by the same token · else for each 1 or { word }
OPERATIONS.c = { arity = 2, lot = 1, run = function(first)
  local id, list = ARGV[first], ARGV[first + 1]
  local lot = lot_of(id)
  local results, n, all = {}, 0, true
  local sold, in_time = 0, lot and lot.expires > now
  for at = 1, #list, 13 do
    local high, low = byte(list, at, at + 1)
    local place, token = high * 256 + low, sub(list, at + 2, at + 12)
    local entry = in_time and entry_of(lot, place)
    local result = 1
    if entry and byte(entry) == OPEN then
      sold = sold + entry_quantity(entry)
      entry_end(id, lot, place, entry, 'c', token)
    else
      define_records()
      result = commit(lot_own_id(id, place), token, '')
      all = all and result == 1
    end
    n = n + 1
    results[n] = result
  end
  if sold > 0 then
    local s = stock_of(lot.sku)
    s.reserved, s.committed = s.reserved - sold, s.committed + sold
  end
  return all and 1 or results
end }
