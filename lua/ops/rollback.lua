-- B id
--   1 given back, now or before · { word }
local function roll_back(id)
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
  if h.state == 'o' then hold_give_back(id, h, 'r') end
  return 1
end

OPERATIONS.B = { arity = 1, id = 1, run = function(first)
  define_records()
  return roll_back(ARGV[first])
end }

-- b lot list: of this lot's reservations; list: place(2) …
--   1 all are given back, now or before · else for each 1 or { word }
OPERATIONS.b = { arity = 2, lot = 1, run = function(first)
  local id, list = ARGV[first], ARGV[first + 1]
  local lot = lot_of(id)
  local results, n, all = {}, 0, true
  local in_time = lot and lot.expires > now
  for at = 1, #list, 2 do
    local high, low = byte(list, at, at + 1)
    local place = high * 256 + low
    local entry = in_time and entry_of(lot, place)
    local result = 1
    if entry and byte(entry) == OPEN then
      entry_give_back(id, lot, place, entry, 'r')
    else
      define_records()
      result = roll_back(lot_own_id(id, place))
      all = all and result == 1
    end
    n = n + 1
    results[n] = result
  end
  return all and 1 or results
end }
